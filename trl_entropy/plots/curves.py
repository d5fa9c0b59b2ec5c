"""A metric over training, one line a group of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..runlog.groups import Band, Group, mean_over_seeds
from ..runlog.smooth import smoothing_window
from .style import METHODS, SeriesStyle, legend_label, new_figure, series_style


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
            label = style.label if group.label == group.method else legend_label(group.label)
            styles.append(SeriesStyle(label, style.color, style.dark, style.dash, style.marker))
        else:
            styles.append(series_style(free.pop(0), group.label))
    return styles


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
    for value, label in references:
        axes.axhline(value, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    axes.set(title=title, xlabel="optimizer step", ylabel=unit)
    if len(groups) > 1:
        axes.legend()
    return figure


def _draw(axes: Axes, raw: Band, band: Band, style: SeriesStyle) -> None:
    stride = max(1, -(-len(raw.steps) // _MOST_POINTS))
    shown = np.unique(np.append(np.arange(0, len(raw.steps), stride), len(raw.steps) - 1))
    steps = raw.steps[shown]
    if band is not raw and band.runs == 1:
        axes.plot(steps, raw.mean[shown], ".", color=style.color, alpha=0.22, markersize=2.5, markeredgewidth=0)
    if band.runs > 1:
        axes.fill_between(steps, band.low[shown], band.high[shown], color=style.color, alpha=0.16, linewidth=0)
    label = f"{style.label} ({band.runs} seeds)" if band.runs > 1 else style.label
    every = max(1, len(shown) // 6)
    axes.plot(steps, band.mean[shown], label=label, marker=style.marker, markevery=every, **style.line())
