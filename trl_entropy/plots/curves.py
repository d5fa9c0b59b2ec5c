"""A metric over training, one line a group of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..runlog.groups import Band, Group, mean_over_seeds
from ..runlog.smooth import smoothing_window
from .style import METHODS, SeriesStyle, legend_label, new_figure, series_style, short_label


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 400
# With two seeds Student's t is 12.7, and a band would be wider than the figure; the tables still give the interval
_FEWEST_FOR_A_BAND = 3


def group_styles(groups: Sequence[Group]) -> list[SeriesStyle]:
    """A style for each group: its method's where only one group has that method, else one after another."""
    methods = [group.method for group in groups]
    own = [m in METHODS and methods.count(m) == 1 for m in methods]
    taken = {m for m, is_own in zip(methods, own, strict=True) if is_own}
    free = [i for i in range(len(groups) + len(METHODS)) if i >= len(METHODS) or list(METHODS)[i] not in taken]
    styles = []
    for group, is_own in zip(groups, own, strict=True):
        if is_own:
            style = METHODS[group.method]
            label = style.label if group.label == group.method else legend_label(short_label(group.label))
            styles.append(SeriesStyle(label, style.color, style.dark, style.dash, style.marker))
        else:
            styles.append(series_style(free.pop(0), short_label(group.label)))
    return styles


def plot_metric(
    groups: Sequence[Group],
    key: str,
    title: str,
    unit: str,
    references: Sequence[tuple[float, str]] = (),
    size: tuple[float, float] | None = None,
) -> Figure | None:
    """A metric over steps: a moving mean for each group, its points or seeds behind it, a band from 3 seeds.

    Args:
        groups: One line each.
        key: The metric, in TRL's names.
        title: Of the figure.
        unit: Of the metric.
        references: Horizontal lines to draw, with their labels.
        size: Inches.

    Returns:
        The figure; None where no group logged the metric. Draw inside `paper_style`.
    """
    bands = [
        (group, style, mean_over_seeds(group, key)) for group, style in zip(groups, group_styles(groups), strict=True)
    ]
    if all(band is None for _, _, band in bands):
        return None
    figure, axes = new_figure(size=size)
    for group, style, band in bands:
        if band is not None:
            window = smoothing_window(len(band.steps))
            smoothed = mean_over_seeds(group, key, window) if window > 1 else None
            _draw(axes, band, smoothed or band, style)
            for run in group.runs if band.runs > 1 else ():  # each seed, thin
                alone = mean_over_seeds(Group(run.name, group.method, (run,)), key, window)
                if alone is not None:
                    shown = _shown(len(alone.steps))
                    axes.plot(alone.steps[shown], alone.mean[shown], linewidth=0.6, alpha=0.55, **style.line())
    for value, label in references:
        axes.axhline(value, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    _limit_to_lines(axes)
    axes.set(title=title, xlabel="optimizer step", ylabel=unit)
    if len(groups) > 1:
        axes.legend()
    return figure


def _limit_to_lines(axes: Axes) -> None:
    """The interval of few seeds may be several times wider than the curves: cut it rather than flatten them."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    low, high = float(values.min()), float(values.max())
    margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _shown(points: int) -> NDArray[np.int64]:
    """Evenly spaced indices, at most about `_MOST_POINTS`, the last included."""
    stride = max(1, -(-points // _MOST_POINTS))
    return np.unique(np.append(np.arange(0, points, stride), points - 1))


def _draw(axes: Axes, raw: Band, band: Band, style: SeriesStyle) -> None:
    shown = _shown(len(raw.steps))
    steps = raw.steps[shown]
    if band is not raw and band.runs == 1:
        axes.plot(steps, raw.mean[shown], ".", color=style.color, alpha=0.22, markersize=2.5, markeredgewidth=0)
    if band.runs >= _FEWEST_FOR_A_BAND:
        axes.fill_between(steps, band.low[shown], band.high[shown], color=style.color, alpha=0.16, linewidth=0)
    label = f"{style.label} ({band.runs} seeds)" if band.runs > 1 else style.label
    every = max(1, len(shown) // 6)
    axes.plot(steps, band.mean[shown], label=label, marker=style.marker, markevery=every, **style.line())
