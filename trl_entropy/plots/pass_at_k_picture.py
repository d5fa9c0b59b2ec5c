"""pass@k against k, with its interval over problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .style import MOST_LINES, SeriesStyle, legend_label, new_figure, paper_style, save_figure, series_style


if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Mapping[int, tuple[float, float, float]]  # k -> mean, low, high


def plot_pass_at_k(results: Mapping[str, Any], path: str | Path) -> list[Path]:
    """Draw the pass@k curves of a `results.json`, a line a model and a panel a benchmark.

    A PNG and an SVG are written, to a path with or without the suffix.

    Raises:
        ValueError: if no pass@k is among the numbers.
    """
    benchmarks = evaluated(results)
    if not benchmarks:
        raise ValueError("There is no pass@k among the numbers; evaluate with --k.")
    with paper_style():
        figure, axes = new_figure(1, len(benchmarks), size=(1.2 + 4.0 * len(benchmarks), 3.4))
        for panel, (name, curves) in zip([axes] if len(benchmarks) == 1 else axes, benchmarks.items(), strict=True):
            draw_pass_at_k(panel, curves, name)
        return save_figure(figure, path)


def evaluated(results: Mapping[str, Any]) -> dict[str, dict[str, Curve]]:
    """benchmark -> model -> k -> pass@k with its interval, of a `results.json`; empty without any pass@k."""
    found: dict[str, dict[str, Curve]] = {}
    for row in results.get("figures") or ():
        curve = {
            int(name.removeprefix("pass@")): (point["mean"], point["low"], point["high"])
            for name, point in row["figures"].items()
            if name.startswith("pass@")
        }
        if curve:
            found.setdefault(row["benchmark"], {})[row["name"]] = dict(sorted(curve.items()))
    return found


def draw_pass_at_k(axes: Axes, curves: Mapping[str, Curve], title: str, styles: Sequence[SeriesStyle] = ()) -> None:
    """pass@k in percent by k, the first six curves, each in its style or, without styles, in the look of its place."""
    for index, (label, curve) in enumerate(list(curves.items())[:MOST_LINES]):
        style = styles[index] if styles else series_style(index, label)
        means, lows, highs = ([100 * point[i] for point in curve.values()] for i in range(3))
        axes.plot(list(curve), means, label=legend_label(label), marker=style.marker, **style.line())
        axes.fill_between(list(curve), lows, highs, color=style.color, alpha=0.13, linewidth=0)
    ticks = sorted({k for curve in curves.values() for k in curve})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(k) for k in ticks], minor=False)
    axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1))
    axes.set(title=title, xlabel="k", ylabel="pass@k (%)")
    axes.legend(loc="best")
