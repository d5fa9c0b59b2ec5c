"""All figures from the grades of one set of samples."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .estimators import distinct_correct, maj_at_k, mg_pass_at_k, pass_at_k
from .intervals import bootstrap_interval
from .sampling import Completion
from .verdicts import Grade


def problem_figures(
    grades: Sequence[Sequence[Grade]],
    completions: Sequence[Sequence[Completion]],
    ks: Sequence[int],
    votes: Sequence[int] | None = None,
) -> dict[str, np.ndarray]:
    """Figures of every problem, each of shape (problems,).

    | name | figure |
    |---|---|
    | `avg@n` | share of correct samples: pass@1 |
    | `pass@k` | `pass_at_k`, exact |
    | `mg-pass@k` | `mg_pass_at_k`, exact, of the largest k: how stable the right answers are |
    | `maj@k` | `maj_at_k`, exact expectation over subsets |
    | `distinct_correct` | different correct answers among the n: expressions for countdown, spellings for math |
    | `distinct` | different answers among the n, up to equality; missing ones do not count |
    | `tokens` | mean length in tokens |
    | `truncated` | share of samples cut at the limit |
    | `no_answer` | share of samples without an answer |
    | `entropy` | mean entropy of all sampled tokens of the problem, in nats; NaN if the engine gives none |

    `ks` are the k of pass@k, and of maj@k unless `votes` says otherwise; maj@1 is avg@n and left out.

    Raises:
        ValueError: if the problems differ in n, or a k exceeds it.
    """
    n = len(grades[0])
    if any(len(group) != n for group in grades):
        raise ValueError("Every problem needs the same number of samples.")
    correct = np.array([[g.correct for g in group] for group in grades])
    figures: dict[str, np.ndarray] = {f"avg@{n}": correct.mean(axis=1)}
    for k in ks:
        figures[f"pass@{k}"] = np.asarray(pass_at_k(n, correct.sum(axis=1), k))
    if max(ks, default=1) > 1:
        figures[f"mg-pass@{max(ks)}"] = np.asarray(mg_pass_at_k(n, correct.sum(axis=1), max(ks)))
    for k in ks if votes is None else votes:
        if k > 1:
            figures[f"maj@{k}"] = np.array(
                [maj_at_k([g.label for g in group], [g.correct for g in group], k) for group in grades]
            )
    figures["distinct_correct"] = np.array(
        [distinct_correct([g.answer for g in group], [g.correct for g in group]) for group in grades], dtype=float
    )
    figures["distinct"] = np.array([len({g.label for g in group} - {None}) for group in grades], dtype=float)
    figures["tokens"] = np.array([np.mean([c.tokens for c in group]) for group in completions])
    figures["truncated"] = np.array([np.mean([c.truncated for c in group]) for group in completions])
    figures["no_answer"] = np.array([np.mean([g.answer is None for g in group]) for group in grades])
    figures["entropy"] = np.array(
        [
            mean_over_tokens([np.nan if c.entropy is None else c.entropy for c in group], [c.tokens for c in group])
            for group in completions
        ]
    )
    return figures


def mean_over_tokens(entropies: ArrayLike, tokens: ArrayLike) -> float:
    """`sum_i tokens_i H_i / sum_i tokens_i`: mean entropy a token from means `H_i` over `tokens_i` tokens each.

    The definition of TRL's logged `entropy`: a long completion counts for its length. NaN without a token.

    Example:
        >>> mean_over_tokens([1.0, 2.0], [3, 1])
        1.25
    """
    lengths = np.asarray(tokens, dtype=np.float64)
    return float(np.asarray(entropies) @ lengths / lengths.sum()) if lengths.sum() > 0 else float("nan")


def weights(name: str, figures: dict[str, np.ndarray]) -> np.ndarray | None:
    """What a figure's mean over problems is weighted with: tokens for `entropy`, a mean over tokens; else None."""
    return figures["tokens"] if name == "entropy" else None


def means(figures: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean of every figure over problems; the entropy's is over all sampled tokens."""
    result = {}
    for name, values in figures.items():
        scale = weights(name, figures)
        result[name] = float(values.mean()) if scale is None else mean_over_tokens(values, scale)
    return result


def summary(figures: dict[str, np.ndarray], confidence: float = 0.95) -> dict[str, dict[str, float]]:
    """`{name: {mean, low, high}}` over problems, with bootstrap intervals; figures with a NaN are left out."""
    result = {}
    for name, mean in means(figures).items():
        if not np.isnan(figures[name]).any():
            low, high = bootstrap_interval(figures[name], confidence, weights=weights(name, figures))
            result[name] = {"mean": mean, "low": low, "high": high}
    return result


def mean_over_seeds(runs: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Each problem's figure averaged over seeds, the entropy over all their tokens: for one interval over problems."""
    result = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    for name in result:
        scales = [weights(name, run) for run in runs]
        if scales[0] is not None:
            result[name] = np.average([run[name] for run in runs], axis=0, weights=np.array(scales))
    return result
