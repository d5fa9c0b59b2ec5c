"""Comparing two methods where both are equally good: pass@16 against pass@1 along training, with intervals.

A method that only slows learning keeps entropy as well. So two methods are compared at equal pass@1, and not only at
equal batches. A *path* is a figure along training, `(points, draws)`: a column for each bootstrap draw, the first
point the start policy, which all methods share. Everything is a pure function of arrays; numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


LEVELS = 20
CONFIDENCE = 0.95
TOLERANCE = 0.02


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval: `value` of the data, `low` and `high` over bootstrap draws, NaN where undefined."""

    value: float
    low: float
    high: float


def estimate(draws: np.ndarray) -> Estimate:
    """Of `(1 + draws,)` values, the first that of the data: the value and the 95 % percentile interval of the others.

    A figure that is undefined in more than one draw of twenty has no interval.
    """
    defined = draws[1:][~np.isnan(draws[1:])]
    if len(defined) < CONFIDENCE * (len(draws) - 1) or not len(defined):
        return Estimate(float(draws[0]), np.nan, np.nan)
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(draws[0]), float(low), float(high))


def problem_weights(problems: int, draws: int, seed: int = 0) -> np.ndarray:
    """(problems, 1 + draws) weights of a bootstrap over problems, each column of sum 1; the first is the data's.

    The same for all methods: they were asked the same problems.
    """
    return _weights(problems, problems, draws, np.random.default_rng(seed))


def seed_weights(seeds: int, draws: int, seed: int = 0) -> np.ndarray:
    """(seeds, 1 + draws) weights of a bootstrap over seeds, each column of sum 1; the first is the data's.

    Of n seeds n - 1 are drawn, with replacement: n draws of so few would understate the variance by (n - 1) / n (Rao
    and Wu, 1988). One seed is no sample: all its weights are 1, and an interval covers problems only.
    """
    return _weights(seeds, max(1, seeds - 1), draws, np.random.default_rng(seed))


def _weights(items: int, drawn: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    counts = generator.multinomial(drawn, np.full(items, 1 / items), size=draws).T / drawn
    return np.concatenate([np.full((items, 1), 1 / items), counts], axis=1)


def path(values: np.ndarray, seeds: np.ndarray, problems: np.ndarray) -> np.ndarray:
    """(points, 1 + draws) means of `(seeds, points, problems)` values, resampled by both kinds of weights.

    Example:
        >>> both = np.array([[[0.0, 1.0]], [[1.0, 1.0]]])  # two seeds, one point, two problems
        >>> path(both, np.array([[0.5], [0.5]]), np.array([[0.5], [0.5]])).tolist()
        [[0.75]]
    """
    return np.einsum("stp,sd,pd->td", values, seeds, problems, optimize=True)


def crossing(x: np.ndarray, y: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(draws,) y where x first reaches `level` along a path, between two points by linear interpolation.

    Args:
        x: (points, draws) pass@1, or tokens.
        y: (points, draws) the figure to read off.
        level: (draws,) where.

    Returns:
        NaN where the path never reaches the level.

    Example:
        >>> crossing(np.array([[0.3], [0.4]]), np.array([[0.9], [0.7]]), np.array([0.35])).round(6).tolist()
        [0.8]
    """
    reached = x >= level
    after = reached.argmax(0)
    before = np.maximum(after - 1, 0)
    draw = np.arange(x.shape[1])
    x0, x1, y0, y1 = x[before, draw], x[after, draw], y[before, draw], y[after, draw]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(after > 0, (level - x0) / (x1 - x0), 0.0)
    return np.where(reached.any(0), y0 + share * (y1 - y0), np.nan)


@dataclass(frozen=True)
class Comparison:
    """A method against a reference at equal pass@1; every field `(1 + draws,)`, NaN where a path does not get there.

    Attributes:
        mean_gap: the primary figure: pass@16 of the method minus the reference's, averaged over 20 evenly spaced
            values of pass@1 from above the start's to `top`.
        top: the lower of the two best pass@1, where the common range ends.
        top_gap: the difference at `top`.
        best_gap: the difference at the reference's best pass@1; NaN where the method never reaches that.
    """

    mean_gap: np.ndarray
    top: np.ndarray
    top_gap: np.ndarray
    best_gap: np.ndarray


def compare(
    x_reference: np.ndarray, y_reference: np.ndarray, x_method: np.ndarray, y_method: np.ndarray
) -> Comparison:
    """Compare two paths of pass@1 (x) and pass@16 (y) at equal pass@1; NaN where one never rises above its start."""

    def gap(level: np.ndarray) -> np.ndarray:
        return crossing(x_method, y_method, level) - crossing(x_reference, y_reference, level)

    start = np.maximum(x_reference[0], x_method[0])
    top = np.minimum(x_reference.max(0), x_method.max(0))
    rises = top > start
    gaps = np.stack([gap(start + (top - start) * i / LEVELS) for i in range(1, LEVELS)] + [gap(top)])
    return Comparison(
        mean_gap=np.where(rises, gaps.mean(0), np.nan),
        top=np.where(rises, top, np.nan),
        top_gap=np.where(rises, gaps[-1], np.nan),
        best_gap=np.where(x_reference.max(0) > start, gap(x_reference.max(0)), np.nan),
    )


def choose(reference: float, tried: Mapping[str, tuple[float, float]], by_gap: bool = True) -> str:
    """The setting of a method that is taken, by its figures on the selection split.

    Among the settings whose best pass@1 is at most 0.02 below the reference's, the one with the largest mean gap in
    pass@16; where no setting gets there, or without `by_gap` (the reference itself), the one with the best pass@1.

    Args:
        reference: plain's best pass@1.
        tried: setting -> (best pass@1, mean gap).

    Example:
        >>> choose(0.40, {"weak": (0.40, 0.01), "middle": (0.39, 0.04), "strong": (0.33, 0.09)})
        'middle'
    """
    near = {name: figures for name, figures in tried.items() if figures[0] >= reference - TOLERANCE}
    if near and by_gap:
        return max(near, key=lambda name: near[name][1])
    return max(tried, key=lambda name: tried[name][0])


def at(x: np.ndarray, paths: np.ndarray, position: float) -> np.ndarray:
    """(draws,) a figure at `position` of increasing x, such as the tokens generated so far.

    Args:
        x: (points,) positions.
        paths: (points, draws) the figure.
        position: within x.
    """
    return crossing(np.repeat(x[:, None], paths.shape[1], 1), paths, np.full(paths.shape[1], position))
