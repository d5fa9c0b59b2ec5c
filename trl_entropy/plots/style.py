"""One look for every figure: a colour, a dash and a marker per method, so that no figure relies on colour alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SeriesStyle:
    """How one method is drawn.

    Args:
        label: The name in legends.
        color: The colour on white, at least 3:1 against it.
        dark: The colour on a dark page, at least 3:1 against `#14171a`.
        dash: On and off lengths in units of the line width; empty for a solid line.
        marker: A matplotlib marker.
    """

    label: str
    color: str
    dark: str
    dash: tuple[float, ...]
    marker: str

    def line(self) -> dict[str, Any]:
        """Keyword arguments for `Axes.plot`.

        Example:
            ```python
            axes.plot(steps, entropy, label=style.label, **style.line())
            ```
        """
        return {"color": self.color, "linestyle": (0, self.dash) if self.dash else "-"}


# Told apart under protanopia, deuteranopia and tritanopia, and in grey by dash and marker: tests/plots/test_style.py.
METHODS: Mapping[str, SeriesStyle] = {
    "plain": SeriesStyle("GRPO", "#3a3a3a", "#d0d0d0", (), "o"),
    "bonus": SeriesStyle("entropy bonus", "#d55e00", "#ff8c42", (4, 1.5), "s"),
    "siren": SeriesStyle("SIREN", "#0064b4", "#56a8f0", (), "D"),
    "clip_cov": SeriesStyle("Clip-Cov", "#00926b", "#2fd0a4", (1.2, 1.2), "^"),
    "kl_cov": SeriesStyle("KL-Cov", "#a8327d", "#f08cc8", (6, 1.5, 1.2, 1.5), "v"),
}

# For runs whose method is not one of ours, and for the second and later runs of one method.
_OTHERS = (
    ("#7a5c00", "#e0bd4f", (2.5, 1), "P"),
    ("#5b3fb0", "#b3a1ff", (5, 1, 1, 1, 1, 1), "X"),
    ("#007c91", "#4fd1e6", (8, 2), "<"),
    ("#9b1c1c", "#ff8a8a", (3, 3), ">"),
)

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
    styles = [(style.color, style.dark) for style in METHODS.values()]
    return dict(styles + [(color, dark) for color, dark, _, _ in _OTHERS])


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


def method_style(method: str) -> SeriesStyle:
    """The style of one of our methods.

    Args:
        method: One of `plain`, `bonus`, `siren`, `clip_cov`, `kl_cov`.

    Raises:
        ValueError: If the method is unknown.

    Example:
        >>> method_style("siren").label
        'SIREN'
    """
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}. Allowed: {', '.join(METHODS)}.")
    return METHODS[method]


def series_style(index: int, label: str) -> SeriesStyle:
    """The style of the `index`-th line of a figure whose lines are not methods.

    Example:
        >>> series_style(0, "run-a").label
        'run-a'
    """
    every = [(s.color, s.dark, s.dash, s.marker) for s in METHODS.values()] + list(_OTHERS)
    color, dark, dash, marker = every[index % len(every)]
    return SeriesStyle(legend_label(label), color, dark, dash, marker)


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw with [`RC_PARAMS`], and leave the caller's matplotlib settings as they were.

    Example:
        ```python
        with paper_style():
            figure, axes = new_figure()
        ```
    """
    import matplotlib

    settings: Any = dict(RC_PARAMS)
    with matplotlib.rc_context(settings):
        yield


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None) -> tuple[Figure, Any]:
    """A figure outside pyplot's global state (no window, no leak), with its axes as `plt.subplots` returns them.

    Call it inside [`paper_style`].
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write a figure as PNG and as SVG.

    Args:
        figure: The figure.
        path: Where to, with or without the suffix `.png` or `.svg`; both files are written beside each other.

    Returns:
        The two files, PNG first.

    Example:
        ```python
        save_figure(figure, "out/entropy")  # out/entropy.png, out/entropy.svg
        ```
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
