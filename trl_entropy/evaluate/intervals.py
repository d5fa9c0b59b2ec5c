"""Uncertainty over problems: bootstrap intervals and a paired test of two models. numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


def bootstrap_interval(
    values: ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over problems (Efron, 1979).

    Problems are drawn with replacement, all samples of a problem together: the interval answers "what if the benchmark
    had other problems of its kind", the dominant uncertainty of 30-problem benchmarks. With one problem it is that
    value twice, which says nothing.

    Args:
        values: (problems,) one figure a problem, without NaN.
        confidence: mass of the interval, in (0, 1).
        resamples: number of bootstrap samples, >= 1.
        seed: seed of a private generator; no global random state is touched.

    Example:
        >>> bootstrap_interval([1.0, 1.0, 1.0])
        (1.0, 1.0)
    """
    array = _problems("bootstrap_interval", values)
    if not 0 < confidence < 1:
        raise ValueError(f"bootstrap_interval: confidence must lie in (0, 1), got {confidence}.")
    if resamples < 1:
        raise ValueError(f"bootstrap_interval: resamples must be at least 1, got {resamples}.")
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, 2_000_000 // len(array))  # bounds the memory of a benchmark of thousands of problems
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        means[start:stop] = array[generator.integers(len(array), size=(stop - start, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedTest:
    """Result of `paired_test`: `difference = mean(b - a)`, its bootstrap interval, two-sided `p_value`, `problems`."""

    difference: float
    low: float
    high: float
    p_value: float
    problems: int


def paired_test(
    a: ArrayLike, b: ArrayLike, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Sign-flip permutation test of `mean(b) == mean(a)` on the same problems (Fisher, 1935).

    Under the null the sign of each problem's difference is a coin toss. `p = P(|mean of flipped| >= |mean|)`: all
    `2^d` flips of the d non-zero differences for d <= 16, else `resamples` random flips with the observed one counted,
    `(1 + hits) / (1 + resamples)`. No difference at all gives p = 1.

    Args:
        a, b: (problems,) figures of the two models, problem by problem in the same order.

    Example:
        >>> paired_test([0, 0, 0], [1, 1, 1]).p_value
        0.25
    """
    first, second = _problems("paired_test", a), _problems("paired_test", b)
    if first.shape != second.shape:
        raise ValueError(
            f"paired_test: {len(first)} problems against {len(second)}. Evaluate both models on the same problems."
        )
    delta = second - first
    low, high = bootstrap_interval(delta, confidence, resamples, seed)
    moved = delta[delta != 0]
    if not len(moved):
        p_value = 1.0
    else:
        bound = abs(moved.sum()) * (1 - 1e-12)  # flips that equal the observed sum up to rounding count as hits
        if len(moved) <= 16:
            signs = 1 - 2 * ((np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1)
            p_value = float((np.abs(signs @ moved) >= bound).mean())
        else:
            generator, hits = np.random.default_rng(seed), 0
            for _ in range(resamples):
                hits += abs((generator.integers(0, 2, len(moved)) * 2 - 1) @ moved) >= bound
            p_value = float((1 + hits) / (1 + resamples))
    return PairedTest(float(delta.mean()), low, high, p_value, len(delta))


def _problems(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name}: needs one figure a problem and at least one problem, got shape {array.shape}.")
    if np.isnan(array).any():
        raise ValueError(f"{name}: NaN among the figures; leave out the problems that have no figure.")
    return array
