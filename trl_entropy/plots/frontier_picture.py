"""pass@16 against pass@1 along training: the picture in which a method that only slows learning gains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .style import SeriesStyle, new_figure, paper_style, save_figure, styles_by_method


def styles(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, SeriesStyle]:
    """A style for each row of `trl_entropy.study.compared`, whose label's first word is the method's key."""
    names = [row["name"] for row in rows.values()]
    return dict(zip(rows, styles_by_method([label.split(" ")[0] for label in rows], names), strict=True))


def draw_frontier(axis: Any, results: Mapping[str, Any], labels: Sequence[str], bands: bool) -> None:
    """Draw the paths of some methods, from `trl_entropy.study.compared`.

    With bands, the interpolated line instead of the evaluations, and the 95 % interval of pass@16 at each pass@1.
    """
    for label, style in styles({label: results["methods"][label] for label in labels}).items():
        method = results["methods"][label]
        if bands:
            line = [point for point in method["line"] if point["value"] is not None]
            known = [point for point in line if point["low"] is not None]
            x, y = [point["pass@1"] for point in line], [point["value"] for point in line]
            low, high = [point["low"] for point in known], [point["high"] for point in known]
            axis.fill_between(
                [point["pass@1"] for point in known], low, high, color=style.color, alpha=0.13, linewidth=0
            )
            axis.plot(x, y, marker=style.marker, markevery=max(1, len(x) // 5), label=style.label, **style.line())
        else:
            x, y = ([point[name]["value"] for point in method["path"]] for name in ("pass@1", "pass@16"))
            axis.plot(x, y, marker=style.marker, label=style.label, **style.line())
    x, y = (results["start"][name]["value"] for name in ("pass@1", "pass@16"))
    axis.plot(x, y, marker="*", markersize=12, color="#222222", linestyle="none", zorder=5)
    axis.annotate("start", (x, y), xytext=(8, 5), textcoords="offset points")
    axis.margins(0.09)
    axis.set(xlabel="pass@1", ylabel="pass@16")


def plot_frontier(results: Mapping[str, Any], labels: Sequence[str], path: str | Path) -> list[Path]:
    """Write the frontiers of at most six methods as PNG and SVG; the two files, PNG first."""
    with paper_style():
        figure, axis = new_figure(size=(5.6, 4.2))
        draw_frontier(axis, results, labels, bands=True)
        axis.set_title(f"{results['task']}: along training, up and right is better")
        axis.legend(loc="best")
        return save_figure(figure, path)


def plot_temperatures(results: Mapping[str, Any], path: str | Path) -> list[Path]:
    """Write pass@16 against pass@1 of the last policies, a point a sampling temperature, as PNG and SVG; PNG first."""
    measured = {label: row for label, row in results["methods"].items() if "temperatures" in row}
    with paper_style():
        figure, axis = new_figure(size=(5.6, 4.2))
        start = [[point[name]["value"] for point in results["start_temperatures"]] for name in ("pass@1", "pass@16")]
        axis.plot(*start, color="#999999", linestyle=":", marker=".", label="start")
        for label, style in styles(measured).items():
            points = measured[label]["temperatures"]
            x, y = ([point[name]["value"] for point in points] for name in ("pass@1", "pass@16"))
            axis.plot(x, y, marker=style.marker, label=style.label, **style.line())
            for point, xy in zip(points, zip(x, y, strict=True), strict=True):
                axis.annotate(f"{point['temperature']:g}", xy, xytext=(4, 4), textcoords="offset points", fontsize=6)
        axis.set(xlabel="pass@1", ylabel="pass@16")
        axis.set_title(f"{results['task']}: the last policy at several sampling temperatures")
        axis.legend(loc="best")
        return save_figure(figure, path)
