"""Uncertainty over problems: bootstrap intervals and a paired test of two models, by scipy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


_BATCH = 2_000_000  # numbers drawn at once: bounds the memory of a large benchmark


@dataclass(frozen=True)
class PairedTest:
    """Result of `paired_test`: `difference = mean(b - a)`, its bootstrap interval, two-sided `p_value`, `problems`."""

    difference: float
    low: float
    high: float
    p_value: float
    problems: int


def bootstrap_interval(
    values: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over problems, `sum w v / sum w` (Efron, 1979).

    Problems are drawn with replacement, all samples of a problem together: the interval answers "what if the benchmark
    had other problems of its kind", the dominant uncertainty of 30-problem benchmarks. With one problem it is that
    value twice, which says nothing.

    Args:
        values: (problems,) one number a problem, without NaN.
        confidence: mass of the interval, in (0, 1).
        resamples: number of bootstrap samples, >= 1.
        seed: seed of a private generator; no global random state is touched.
        weights: (problems,) positive; a ratio of two sums is resampled as a ratio. None: all equal.

    Example:
        >>> bootstrap_interval([1.0, 1.0, 1.0])
        (1.0, 1.0)
    """
    array = _problems(values)
    if not 0 < confidence < 1:
        raise ValueError(f"bootstrap_interval: confidence must lie in (0, 1), got {confidence}.")
    if resamples < 1:
        raise ValueError(f"bootstrap_interval: resamples must be at least 1, got {resamples}.")
    scale = _weights(weights, array)
    return _bootstrap([array * scale, scale], _ratio, confidence, resamples, seed)


def paired_test(
    a: ArrayLike,
    b: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    weights: tuple[ArrayLike, ArrayLike] | None = None,
) -> PairedTest:
    """Sign-flip permutation test of `mean(b) == mean(a)` on the same problems (Fisher, 1935).

    Under the null the two models of each problem may be exchanged. p is twice the smaller of the shares of exchanges
    whose mean is at least, and at most, the observed one, and 1 at most: all exchanges where they are no more than
    `resamples` (13 problems that differ, by default), else `resamples` random ones and the observed one. No difference
    at all gives p = 1.

    Args:
        a, b: (problems,) numbers of the two models, problem by problem in the same order.
        weights: of both, (problems,) positive each, such as the tokens behind a mean over tokens. The difference is
            then one of ratios, `sum w_b b / sum w_b - sum w_a a / sum w_a`; a value and its weight go together.

    Example:
        >>> paired_test([0, 0, 0], [1, 1, 1]).p_value
        0.25
        >>> paired_test([1.0, 1.0], [1.0, 2.0], weights=([1, 1], [1, 3])).difference
        0.75
    """
    from scipy.stats import permutation_test

    first, second = _problems(a), _problems(b)
    n = len(first)
    if first.shape != second.shape:
        raise ValueError(f"{n} problems against {len(second)}. Evaluate both models on the same problems.")
    scales = [_weights(w, v) for w, v in zip(weights or (None, None), (first, second), strict=True)]
    columns = np.array([first * scales[0], scales[0], second * scales[1], scales[1]])
    total = columns[:2].sum(1) + columns[2:].sum(1)
    change = columns[2:] - columns[:2]
    change = change[:, (change != 0).any(0)]

    def difference(one: np.ndarray, w_one: np.ndarray, other: np.ndarray, w_other: np.ndarray, axis: int = -1):
        return _ratio(other, w_other, axis) - _ratio(one, w_one, axis)

    def exchanged(signs: np.ndarray, axis: int = -1) -> np.ndarray:  # +1 a problem as it is, -1 exchanged
        above, under = (t + (signs * c).sum(axis) for t, c in zip(total, change, strict=True))
        other_above, other_under = (2 * t - v for t, v in zip(total, (above, under), strict=True))
        return above / under - other_above / other_under

    p_value = 1.0  # also where one problem differs: its exchange changes the sign only
    if change.shape[1] > 1:
        p_value = permutation_test(
            (np.ones(change.shape[1]),), exchanged, permutation_type="samples", vectorized=True,
            n_resamples=resamples, batch=max(1, _BATCH // n), rng=np.random.default_rng(seed),
        ).pvalue  # fmt: skip
    low, high = _bootstrap(list(columns), difference, confidence, resamples, seed)
    return PairedTest(float(difference(*columns)), low, high, float(p_value), n)


def _bootstrap(
    columns: Sequence[np.ndarray], statistic: Callable, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    from scipy.stats import bootstrap

    n = len(columns[0])
    if n == 1:
        value = float(statistic(*columns))
        return value, value
    interval = bootstrap(
        columns, statistic, paired=True, method="percentile", vectorized=True, axis=-1, confidence_level=confidence,
        n_resamples=resamples, batch=max(1, _BATCH // n), rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def _ratio(above: np.ndarray, below: np.ndarray, axis: int = -1) -> np.ndarray:
    return above.sum(axis) / below.sum(axis)


def _weights(weights: ArrayLike | None, values: np.ndarray) -> np.ndarray:
    if weights is None:
        return np.ones_like(values)
    array = _problems(weights)
    if array.shape != values.shape or not (array > 0).all():
        raise ValueError(f"Needed is one positive weight a problem, {len(values)} of them.")
    return array


def _problems(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"Needed are one number a problem and at least one problem, got shape {array.shape}.")
    if np.isnan(array).any():
        raise ValueError("NaN among the numbers; leave out the problems that have none.")
    return array
