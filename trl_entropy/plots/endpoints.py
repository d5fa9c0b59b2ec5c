"""Where each group of runs ended, with the interval over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..runlog.groups import Group, end_values, half_width
from .curves import group_styles
from .style import MOST_LINES, new_figure


if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
