"""One look for every picture: a colour, a dash and a marker a line, so that no picture relies on colour alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SeriesStyle:
    """How one line is drawn: its colour on white and on a dark page (`#14171a`), each at least 3:1 against it.

    The dash is on and off lengths in units of the line width, empty for a solid line.
    """

    label: str
    color: str
    dark: str
    dash: tuple[float, ...]
    marker: str

    def line(self) -> dict[str, Any]:
        """Keyword arguments for `Axes.plot`."""
        return {"color": self.color, "linestyle": (0, self.dash) if self.dash else "-"}


# Colour on white, on a dark page, dash, marker. The first is plain GRPO's. The first six are told apart under
# protanopia, deuteranopia and tritanopia, and in grey by dash and marker: tests/plots/test_style.py.
_LOOKS: tuple[tuple[str, str, tuple[float, ...], str], ...] = (
    ("#3a3a3a", "#d0d0d0", (), "o"),
    ("#0064b4", "#56a8f0", (), "D"),
    ("#d55e00", "#ff8c42", (4, 1.5), "s"),
    ("#00926b", "#2fd0a4", (1.2, 1.2), "^"),
    ("#a8327d", "#f08cc8", (6, 1.5, 1.2, 1.5), "v"),
    ("#7b1fe0", "#9a5cff", (5, 1, 1, 1, 1, 1), "X"),
    ("#7a5c00", "#e0bd4f", (2.5, 1), "P"),
    ("#007c91", "#4fd1e6", (8, 2), "<"),
    ("#9b1c1c", "#ff8a8a", (3, 3), ">"),
)
BASELINE = SeriesStyle("", "#777777", "#a9b1b8", (1, 2), "*")  # what the runs began from
MOST_LINES = 6  # in one picture: more cannot be told apart

RC_PARAMS: Mapping[str, Any] = {
    "figure.figsize": (5.2, 3.4),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 2.8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    # A dollar sign in a run's name is a dollar sign
    "text.parse_math": False,
    # Text stays text in SVG, and the ids do not change from run to run.
    "svg.fonttype": "none",
    "svg.hashsalt": "trl-entropy",
}


def dark_colors() -> dict[str, str]:
    """For each colour of a line on white, the one that replaces it on a dark page."""
    return {color: dark for color, dark, _, _ in _LOOKS}


def legend_label(text: str) -> str:
    """A label that matplotlib shows: it hides those that begin with an underscore.

    >>> legend_label("_run")
    ' _run'
    """
    return " " + text if text.startswith("_") else text


def short_label(text: str, most: int = 32) -> str:
    """A name of at most `most` characters: its beginning and its end, which tells runs apart.

    >>> short_label("a-run-with-far-too-long-a-name-seed-3", 16)
    'a-run-w…e-seed-3'
    """
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[head + 1 - most :]}"


def series_style(index: int, label: str, variant: int = 0) -> SeriesStyle:
    """The style of the `index`-th line of a picture; variants of one line share its colour, not its dash and marker.

    Example:
        >>> series_style(0, "run-a").label
        'run-a'
    """
    color, dark, _, _ = _LOOKS[index % len(_LOOKS)]
    _, _, dash, marker = _LOOKS[(index + variant) % len(_LOOKS)]
    return SeriesStyle(legend_label(label), color, dark, dash, marker)


def styles_by_method(methods: Sequence[str], labels: Sequence[str]) -> list[SeriesStyle]:
    """A style for each line by its method: one colour a method, in the order of appearance, `plain` always the first.

    Lines of one method differ in dash and marker; where all lines are of one method, in colour too.

    Example:
        >>> a, b, c = styles_by_method(["siren", "plain", "siren"], "abc")
        >>> a.color == c.color != b.color, a.dash == c.dash
        (True, False)
    """
    known = list(dict.fromkeys(["plain", *methods]))
    if len(set(methods)) == 1 and len(methods) > 1:
        return [series_style(i, short_label(label)) for i, label in enumerate(labels)]
    places = [(0 if method == "plain" else 1 + (known.index(method) - 1) % (len(_LOOKS) - 1)) for method in methods]
    return [
        series_style(place, short_label(label), methods[:i].count(method))
        for i, (place, method, label) in enumerate(zip(places, methods, labels, strict=True))
    ]


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw with [`RC_PARAMS`], and leave the caller's matplotlib settings as they were."""
    import matplotlib

    settings: Any = dict(RC_PARAMS)
    with matplotlib.rc_context(settings):
        yield


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None) -> tuple[Figure, Any]:
    """A matplotlib figure outside pyplot's global state, with its axes as `plt.subplots` returns them.

    Call it inside [`paper_style`].
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write a picture as PNG and as SVG, beside each other, to a path with or without one of the two suffixes.

    Returns:
        The two files, PNG first.
    """
    path = Path(path)
    stem = path.with_suffix("") if path.suffix in (".png", ".svg") else path
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    with paper_style():
        figure.savefig(written[0])
        # No date: the same data give the same file.
        figure.savefig(written[1], metadata={"Date": None})
    return written
