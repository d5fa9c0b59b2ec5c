"""Reward against entropy, with the fitted law, its interval and its ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..law import LawFit, LawForecast
from .style import SeriesStyle, new_figure, short_label


if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 250
_LEGEND_LINE = 0.17  # inches


@dataclass(frozen=True)
class LawLine:
    """One run's entropies (n,), in nats, and rewards (n,) in the order of time, and what was fitted to them."""

    entropy: NDArray[np.float64]
    reward: NDArray[np.float64]
    fit: LawFit
    style: SeriesStyle
    forecast: LawForecast | None = None


def plot_law(
    lines: Sequence[LawLine], title: str = "The entropy law", size: tuple[float, float] | None = None
) -> Figure:
    """Points (exp(H), R), the line `R = b - a exp(H)` down to exp(0) = 1 with its interval, and the ceiling there.

    A fit whose verdict is `unfit` is not drawn: its points are, and the legend says so. Points that a forecast was
    fitted on are filled, the rest are hollow, and the forecast's curve is dotted. The legend stands below the axes,
    long names shortened in their middle; it is not part of the size, in inches.

    Raises:
        ValueError: If there is no line.
    """
    if not lines:
        raise ValueError("No run to draw: give at least one LawLine.")
    width, height = size or (5.2, 3.4)
    entries = len(lines) + sum(bool(x.forecast and x.forecast.fit.verdict != "unfit") for x in lines)
    figure, axes = new_figure(size=(width, height + _LEGEND_LINE * entries))
    for line in lines:
        color = line.style.color
        stride = max(1, -(-len(line.entropy) // _MOST_POINTS))
        cut = line.forecast.cut if line.forecast else len(line.entropy)
        first = np.arange(len(line.entropy))[::stride] < cut
        for chosen, face in ((first, color), (~first, "none")):
            x, y = np.exp(line.entropy[::stride][chosen]), line.reward[::stride][chosen]
            look = {"color": color, "markerfacecolor": face, "markersize": 4, "markeredgewidth": 0.8}
            axes.plot(x, y, line.style.marker, alpha=0.6, **look)
        grid = np.linspace(0.0, float(line.entropy.max()), 120)
        x = np.exp(grid)
        label = f"{short_label(line.style.label)}: "
        if line.fit.verdict == "unfit":
            axes.plot([], [], line.style.marker, color=color, label=label + "no fit")
        else:
            low, high = line.fit.band(grid)
            axes.fill_between(x, low, high, color=color, alpha=0.14, linewidth=0)
            label += f"ceiling {line.fit.ceiling:.3g}, R² {line.fit.r2:.2f}"
            axes.plot(x, line.fit.predict(grid), label=label, **line.style.line())
            axes.plot([1], [line.fit.ceiling], marker="*", color=color, markersize=9, clip_on=False)
        if line.forecast and line.forecast.fit.verdict != "unfit":
            label = f"forecast from {line.forecast.cut} points, RMSE {line.forecast.rmse:.2g}"
            axes.plot(x, line.forecast.fit.predict(grid), color=color, linestyle=":", linewidth=1.4, label=label)
    axes.set(title=title, xlabel="exp(H), H the mean token entropy in nats", ylabel="reward R")
    rewards = np.concatenate([line.reward for line in lines])
    ceilings = [line.fit.ceiling for line in lines if line.fit.verdict != "unfit"]
    low, high = min(rewards.min(), *ceilings, np.inf), max(rewards.max(), *ceilings, -np.inf)
    margin = 0.08 * (high - low or 1.0)
    axes.set_ylim(low - margin, high + margin)  # a wide interval must not flatten the points
    axes.set_xlim(left=1.0)
    figure.legend(loc="outside lower center", ncols=1)
    return figure
