"""A metric over training, one line a group of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..runlog.groups import Group, mean_over_seeds
from .style import METHODS, SeriesStyle, new_figure, series_style


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 400


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
            label = style.label if group.label == group.method else group.label
            styles.append(SeriesStyle(label, style.color, style.dark, style.dash, style.marker))
        else:
            styles.append(series_style(free.pop(0), group.label))
    return styles


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """A centred moving mean over at most `window` points, shorter at both ends, of the same length.

    >>> smooth(np.array([0.0, 3.0, 6.0, 9.0]), 3).tolist()
    [1.5, 3.0, 6.0, 7.5]
    """
    if window <= 1:
        return values
    kernel = np.ones(window)
    half = window // 2
    total = np.convolve(np.pad(values, half), kernel, mode="valid")[: len(values)]
    count = np.convolve(np.pad(np.ones_like(values), half), kernel, mode="valid")[: len(values)]
    return total / count


def smoothing_window(points: int) -> int:
    """An odd window of about a 25th of the run; 1 below 50 points."""
    return 1 if points < 50 else points // 25 | 1


def plot_metric(
    groups: Sequence[Group],
    key: str,
    title: str,
    unit: str,
    references: Sequence[tuple[float, str]] = (),
    size: tuple[float, float] | None = None,
) -> Figure | None:
    """A metric over steps: a moving mean for each group, the single points behind it, and a band over seeds.

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
    bands = [(mean_over_seeds(group, key), style) for group, style in zip(groups, group_styles(groups), strict=True)]
    if all(band is None for band, _ in bands):
        return None
    figure, axes = new_figure(size=size)
    for band, style in bands:
        if band is None:
            continue
        _draw(axes, band.steps, band.mean, band.low, band.high, band.runs, style)
    for value, label in references:
        axes.axhline(value, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    axes.set(title=title, xlabel="optimizer step", ylabel=unit)
    if len(groups) > 1:
        axes.legend()
    return figure


def _draw(axes: Axes, steps, mean, low, high, runs: int, style: SeriesStyle) -> None:
    window = smoothing_window(len(steps))
    stride = max(1, -(-len(steps) // _MOST_POINTS))
    line = smooth(mean, window)
    if window > 1 and runs == 1:
        axes.plot(
            steps[::stride], mean[::stride], ".", color=style.color, alpha=0.22, markersize=2.5, markeredgewidth=0
        )
    if runs > 1:
        low, high = smooth(low, window), smooth(high, window)
        axes.fill_between(steps[::stride], low[::stride], high[::stride], color=style.color, alpha=0.16, linewidth=0)
    label = f"{style.label} ({runs} seeds)" if runs > 1 else style.label
    shown = np.unique(np.append(np.arange(0, len(steps), stride), len(steps) - 1))
    every = max(1, len(shown) // 6)
    axes.plot(steps[shown], line[shown], label=label, marker=style.marker, markevery=every, **style.line())
