"""Exact estimators of pass@k, G-Pass@k, maj@k and diversity from n samples of one problem."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> np.ndarray | float:
    """Probability that at least one of k samples drawn without replacement from n is correct.

    `1 - C(n - c, k) / C(n, k) = 1 - prod_{i = n-c+1}^{n} (1 - k / i)` (Codex, arXiv 2107.03374, section 2.1): the mean
    over all k-subsets, hence an unbiased estimate of pass@k of the policy. `1 - (1 - c/n)^k` is biased low.

    Args:
        n: number of samples of each problem, integers >= 1.
        c: number of correct samples, `0 <= c <= n`.
        k: size of the subset, `1 <= k <= n`.

    The three broadcast together. Returns an array of their common shape, a float if all three are scalars.

    Raises:
        ValueError: if an argument is not an integer or lies outside its range.

    Example:
        >>> pass_at_k(4, 1, 2)
        0.5
        >>> pass_at_k(4, [0, 1, 4], 2).tolist()
        [0.0, 0.5, 1.0]
    """
    samples, correct, size = _draws("pass_at_k", n, c, k)
    i = np.arange(1, samples.max(initial=0) + 1)
    counted = (i > (samples - correct)[..., None]) & (i <= samples[..., None])
    # A factor at i <= k belongs to an impossible draw of k wrong samples: the product is exactly 0 there, so the
    # negative factors below i = k are cut before they can overflow.
    factors = np.where(counted, np.maximum(1.0 - size[..., None] / i, 0.0), 1.0)
    values = 1.0 - factors.prod(axis=-1)
    return values if values.ndim else float(values)


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike, tau: float) -> np.ndarray | float:
    """G-Pass@k_tau: probability that at least `ceil(tau k)` of k samples drawn without replacement are correct.

    `sum_{j >= max(1, ceil(tau k))} C(c, j) C(n - c, k - j) / C(n, k)` (arXiv 2412.13147, definition of G-Pass@k): a
    stable model has it high at tau 1, where all k must be right; as tau goes to 0 it is pass@k.

    Args:
        n, c, k: as in [`pass_at_k`].
        tau: in [0, 1].

    Returns and broadcasts as [`pass_at_k`].

    Raises:
        ValueError: as [`pass_at_k`], and for a tau outside [0, 1].

    Example:
        >>> [round(g_pass_at_k(4, 2, 2, tau), 4) for tau in (0, 0.5, 1)]
        [0.8333, 0.8333, 0.1667]
    """
    from scipy.stats import hypergeom

    if not 0 <= tau <= 1:
        raise ValueError(f"g_pass_at_k: tau={tau} is not allowed; give a share in [0, 1].")
    samples, correct, size = _draws("g_pass_at_k", n, c, k)
    needed = np.maximum(np.ceil(tau * size - 1e-9), 1)
    values = hypergeom.sf(needed - 1, samples, correct, size)
    return values if np.ndim(values) else float(values)


def mg_pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> np.ndarray | float:
    """mG-Pass@k, the area under G-Pass@k_tau between tau = 1/2 and 1, doubled (arXiv 2412.13147).

    `2 / k * sum_{i = ceil(k / 2) + 1}^{k} G-Pass@k_{i / k}`. It is 1 where all samples are right and k is even; with
    an odd k, as the formula has it, `(k - 1) / k`.

    Args:
        n, c: as in [`pass_at_k`].
        k: from 2 to n.

    Raises:
        ValueError: as [`pass_at_k`], and for k = 1, whose sum is empty.

    Example:
        >>> mg_pass_at_k(4, [2, 3, 4], 2).round(4).tolist()
        [0.1667, 0.5, 1.0]
    """
    if k < 2:
        raise ValueError(f"mg_pass_at_k: k={k} is not allowed; give 2 or more.")
    return 2 / k * sum(g_pass_at_k(n, c, k, i / k) for i in range(-(-k // 2) + 1, k + 1))


def maj_at_k(answers: Sequence[Hashable | None], correct: Sequence[bool], k: int) -> float:
    """Expected accuracy of a majority vote among k samples drawn without replacement from n, exactly.

    `maj@k = mean over the C(n, k) subsets of [correct winners / winners]`: the winners of a subset are the answers
    with the most votes in it, so a tie is broken uniformly at random. A missing answer (None) neither votes nor wins;
    a subset of missing answers only scores 0. `k = n` is the usual cons@n (SIREN, arXiv 2509.25133, evaluation); for
    `k < n` this is the mean that repeated draws of k samples would estimate.

    Method: independent `Binomial(count_j, k/n)` votes conditioned on their sum being k are a uniform k-subset, so one
    polynomial product over the answers, for each winning number of votes, gives the expectation without sampling.

    Args:
        answers: n labels, one a sample; mathematically equal answers must carry the same label. None: no answer.
        correct: n flags. All samples with one label must agree; a missing answer cannot be correct.
        k: size of the vote, `1 <= k <= n`.

    Raises:
        ValueError: if the lengths differ, k is out of range, or a label is both correct and wrong.

    Example:
        >>> maj_at_k(["1/2", "1/2", "3", None], [True, True, False, False], k=4)
        1.0
        >>> round(maj_at_k(["1/2", "3", None], [True, False, False], k=2), 4)
        0.5
    """
    n = len(answers)
    if len(correct) != n:
        raise ValueError(f"maj_at_k: {n} answers but {len(correct)} correctness flags.")
    if int(k) != k or not 1 <= k <= n:
        raise ValueError(f"maj_at_k: k must be an integer in 1..n = {n}, got {k}.")
    k = int(k)
    is_correct: dict[Hashable, bool] = {}
    for answer, flag in zip(answers, correct, strict=True):
        if answer is None and flag:
            raise ValueError("maj_at_k: a missing answer (None) is marked correct.")
        if is_correct.setdefault(answer, bool(flag)) != bool(flag):
            raise ValueError(
                f"maj_at_k: answer {answer!r} is marked both correct and wrong. Equal answers need equal verdicts."
            )
    counts = Counter(answers)
    missing = counts.pop(None, 0)
    total = 0.0
    # Answers with equal counts win equally often: one product serves all the correct ones of that count.
    for count, times in Counter(counts[a] for a in counts if is_correct[a]).items():
        others = list(counts.values())
        others.remove(count)
        total += times * _win_share(count, others, missing, n, k)
    return min(float(total), 1.0)


def _win_share(own: int, others: list[int], missing: int, n: int, k: int) -> float:
    """Mean over k-subsets of `[wins] / winners` for an answer with `own` samples."""
    share = k / n
    own_votes, missing_votes = _binomial(own, share), _binomial(missing, share)
    total = 0.0
    for votes in range(1, min(own, k) + 1):
        left = k - votes
        # state[t, v]: probability of v votes in all for the answers so far, t of which tie with `votes`, none above.
        state = np.zeros((left // votes + 1, left + 1))
        state[0] = np.pad(missing_votes, (0, left + 1))[: left + 1]
        for count in others:
            pmf = _binomial(count, share)
            new = np.zeros_like(state)
            for v in range(min(count, votes - 1, left) + 1):
                new[:, v:] += pmf[v] * state[:, : left + 1 - v]
            if count >= votes and left >= votes:
                new[1:, votes:] += pmf[votes] * state[:-1, : left + 1 - votes]
            state = new
        total += own_votes[votes] * float(state[:, left] @ (1.0 / np.arange(1, len(state) + 1)))
    return total / _binomial(n, share)[k]


def _binomial(count: int, share: float) -> np.ndarray:
    """Probabilities of 0..count successes of `Binomial(count, share)`, by convolution: sums of positive terms only."""
    pmf = np.ones(1)
    for _ in range(count):
        pmf = np.append(pmf * (1.0 - share), 0.0) + np.append(0.0, pmf * share)
    return pmf


def distinct_correct(solutions: Iterable[Hashable | None], correct: Iterable[bool]) -> int:
    """Number of different solutions among the correct samples of one problem; None does not count.

    For a task with many valid answers (countdown: different expressions) this measures the diversity that pass@k lives
    on. For a task with one answer it counts different spellings.

    Example:
        >>> distinct_correct(["1+2", "2+1", "1+2", "9"], [True, True, True, False])
        2
    """
    return len({s for s, flag in zip(solutions, correct, strict=True) if flag and s is not None})


def _draws(caller: str, n: ArrayLike, c: ArrayLike, k: ArrayLike) -> tuple[np.ndarray, ...]:
    """Samples, correct ones and size of the draw, checked and broadcast."""
    arrays = []
    for name, value in (("n", n), ("c", c), ("k", k)):
        array = np.asarray(value)
        if array.dtype == bool or not np.issubdtype(array.dtype, np.number) or (array != np.floor(array)).any():
            raise ValueError(f"{caller}: {name} must hold integers, got {value!r}.")
        arrays.append(array.astype(np.int64))
    samples, correct, size = np.broadcast_arrays(*arrays)
    if samples.size and samples.min() < 1:
        raise ValueError(f"{caller}: n must be at least 1, got {samples.min()}.")
    if (correct < 0).any() or (correct > samples).any():
        raise ValueError(f"{caller}: c must lie in 0..n: a problem has no more correct samples than samples.")
    if (size < 1).any() or (size > samples).any():
        raise ValueError(
            f"{caller}: k must lie in 1..n, got k up to {size.max()} with n down to {samples.min()}. "
            "Draw more samples, or ask for a smaller k."
        )
    return samples, correct, size
