"""Uncertainty over problems: bootstrap intervals and a paired test of two models. numpy only."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


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
        values: (problems,) one figure a problem, without NaN.
        confidence: mass of the interval, in (0, 1).
        resamples: number of bootstrap samples, >= 1.
        seed: seed of a private generator; no global random state is touched.
        weights: (problems,) positive; a ratio of two sums is resampled as a ratio. None: all equal.

    Example:
        >>> bootstrap_interval([1.0, 1.0, 1.0])
        (1.0, 1.0)
    """
    array = _problems("bootstrap_interval", values)
    scale = None if weights is None else _weights("bootstrap_interval", weights, array)
    if not 0 < confidence < 1:
        raise ValueError(f"bootstrap_interval: confidence must lie in (0, 1), got {confidence}.")
    if resamples < 1:
        raise ValueError(f"bootstrap_interval: resamples must be at least 1, got {resamples}.")
    if scale is None:
        means = [array[chosen].mean(axis=1) for chosen in _draws(len(array), resamples, seed)]
    else:
        means = [_ratio(array * scale, scale, chosen) for chosen in _draws(len(array), resamples, seed)]
    return _ends(np.concatenate(means), confidence)


def _draws(problems: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Indices (rows, problems) of bootstrap samples, in chunks that bound the memory of a large benchmark."""
    generator = np.random.default_rng(seed)
    rows = max(1, 2_000_000 // problems)
    for start in range(0, resamples, rows):
        yield generator.integers(problems, size=(min(rows, resamples - start), problems))


def _ratio(above: np.ndarray, below: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return above[chosen].sum(axis=1) / below[chosen].sum(axis=1)


def _ends(statistics: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(statistics, [(1 - confidence) / 2, (1 + confidence) / 2])
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


def paired_ratio_test(
    a: ArrayLike,
    b: ArrayLike,
    weights_a: ArrayLike,
    weights_b: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedTest:
    """`paired_test` for ratios: the difference is `sum w_b b / sum w_b - sum w_a a / sum w_a`.

    Under the null the two models of each problem may be exchanged: its value and its weight change sides together. All
    exchanges up to 16 problems that differ, else `resamples` random ones; the interval resamples problems.

    Args:
        a, b: (problems,) figures of the two models, problem by problem in the same order.
        weights_a, weights_b: (problems,) their weights, positive: the tokens behind a mean over tokens.

    Example:
        >>> paired_ratio_test([1.0, 1.0], [1.0, 2.0], [1, 1], [1, 3]).difference
        0.75
    """
    first, second = _problems("paired_ratio_test", a), _problems("paired_ratio_test", b)
    if first.shape != second.shape:
        raise ValueError(
            f"paired_ratio_test: {len(first)} problems against {len(second)}. Evaluate both models on the same ones."
        )
    below = [_weights("paired_ratio_test", w, v) for w, v in ((weights_a, first), (weights_b, second))]
    above = [first * below[0], second * below[1]]

    def difference(exchanged: np.ndarray) -> np.ndarray:
        sums = [values[0].sum() + exchanged @ (values[1] - values[0]) for values in (above, below)]
        others = [values[1].sum() - exchanged @ (values[1] - values[0]) for values in (above, below)]
        return others[0] / others[1] - sums[0] / sums[1]

    observed = float(difference(np.zeros((1, len(first))))[0])
    statistics = np.concatenate(
        [
            _ratio(above[1], below[1], chosen) - _ratio(above[0], below[0], chosen)
            for chosen in _draws(len(first), resamples, seed)
        ]
    )
    moved = np.flatnonzero((above[0] != above[1]) | (below[0] != below[1]))
    bound = abs(observed) * (1 - 1e-12)
    if len(moved) <= 16:
        exchanged = np.zeros((2 ** len(moved), len(first)))
        exchanged[:, moved] = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        p_value = float((np.abs(difference(exchanged)) >= bound).mean())
    else:
        generator, hits = np.random.default_rng(seed), 0
        for _ in range(resamples):
            hits += int(abs(difference(generator.integers(0, 2, (1, len(first))))[0]) >= bound)
        p_value = (1 + hits) / (1 + resamples)
    return PairedTest(observed, *_ends(statistics, confidence), p_value, len(first))


def _weights(name: str, weights: ArrayLike, values: np.ndarray) -> np.ndarray:
    array = _problems(name, weights)
    if array.shape != values.shape or not (array > 0).all():
        raise ValueError(f"{name}: needs one positive weight a problem, {len(values)} of them.")
    return array


def _problems(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name}: needs one figure a problem and at least one problem, got shape {array.shape}.")
    if np.isnan(array).any():
        raise ValueError(f"{name}: NaN among the figures; leave out the problems that have no figure.")
    return array
