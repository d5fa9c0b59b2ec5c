"""A metric over training, one line a group of runs, and where it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..runlog.groups import Group, end_values, half_width, over_seeds
from ..runlog.smooth import smoothing_window
from .style import MOST_LINES, SeriesStyle, new_figure, styles_by_method


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 400


def group_styles(groups: Sequence[Group]) -> list[SeriesStyle]:
    """A style for each group: its method's colour; a run whose method nobody knows is a method of its own."""
    methods = [group.label if group.method == "unknown" else group.method for group in groups]
    return styles_by_method(methods, [group.label for group in groups])


def plot_metric(
    groups: Sequence[Group],
    key: str,
    title: str,
    unit: str,
    references: Sequence[tuple[float, str]] = (),
    size: tuple[float, float] | None = None,
) -> Figure | None:
    """A metric over steps: the median over each group's seeds, and behind it the seeds or the single run's points.

    Long runs are smoothed by a moving mean. The band of three and more seeds reaches from the lowest to the highest.

    The first six groups are drawn, and horizontal lines, the references, with their labels; the size is in inches.

    Returns:
        The picture; None where no group logged the metric. Draw inside `paper_style`.
    """
    drawn = groups[:MOST_LINES]
    if not any(key in run.metrics for group in drawn for run in group.runs):
        return None
    figure, axes = new_figure(size=size)
    for group, style in zip(drawn, group_styles(drawn), strict=True):
        _draw(axes, group, key, style)
    for value, label in references:
        axes.axhline(value, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    axes.set(title=title, xlabel="optimizer step", ylabel=unit)
    if len(groups) > 1:
        figure.legend(loc="outside lower center", ncols=1 if any(len(g.label) > 20 for g in groups) else 3)
    return figure


def plot_last_values(
    groups: Sequence[Group], key: str, title: str, unit: str, size: tuple[float, float] | None = None
) -> Figure | None:
    """Each group's mean over its last tenth: a small mark a seed, a large one their mean, a line the 95 % interval.

    Returns:
        The picture; None where no group logged the metric. Draw inside `paper_style`.
    """
    groups = groups[:MOST_LINES]
    ends = [end_values(group, key) for group in groups]
    if not any(len(end) for end in ends):
        return None
    figure, axes = new_figure(size=size or (5.2, 0.9 + 0.42 * len(groups)))
    styles = group_styles(groups)
    for row, (end, style) in enumerate(zip(ends, styles, strict=True)):
        if not len(end):
            continue
        half = half_width(end)
        if np.isfinite(half):
            axes.plot([end.mean() - half, end.mean() + half], [row, row], color=style.color, linewidth=2.2, alpha=0.6)
        if len(end) > 1:
            axes.plot(end, np.full(len(end), row), "|", color=style.color, markersize=9, markeredgewidth=1)
        axes.plot([end.mean()], [row], style.marker, color=style.color, markersize=7)
    axes.set_yticks(range(len(groups)), [style.label for style in styles])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set(title=title, xlabel=unit)
    return figure


def _draw(axes: Axes, group: Group, key: str, style: SeriesStyle) -> None:
    raw = over_seeds(group, key)
    if raw is None:
        return
    window = smoothing_window(len(raw.steps))
    band = over_seeds(group, key, window) or raw
    shown = _shown(len(raw.steps))
    steps = raw.steps[shown]
    if raw.runs == 1 and window > 1:
        axes.plot(steps, raw.middle[shown], ".", color=style.color, alpha=0.55, markersize=5, markeredgewidth=0)
    if raw.runs > 2:
        axes.fill_between(steps, band.low[shown], band.high[shown], color=style.color, alpha=0.16, linewidth=0)
    every = max(1, len(shown) // 6)
    label = f"{style.label} ({raw.runs} seeds)" if raw.runs > 1 else style.label
    axes.plot(steps, band.middle[shown], label=label, marker=style.marker, markevery=every, **style.line())
    for run in group.runs if raw.runs > 1 else ():  # each seed, thin
        alone = over_seeds(Group(run.name, group.method, (run,)), key, window)
        if alone is not None:
            few = _shown(len(alone.steps))
            axes.plot(alone.steps[few], alone.middle[few], linewidth=0.6, alpha=0.55, **style.line())


def _shown(points: int) -> NDArray[np.int64]:
    """Evenly spaced indices, at most about `_MOST_POINTS`, the last included."""
    stride = max(1, -(-points // _MOST_POINTS))
    return np.unique(np.append(np.arange(0, points, stride), points - 1))
