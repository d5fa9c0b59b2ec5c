"""What is logged: one table of keys, units and formulas, and the functions that compute them.

Each group has two: `*_sums` reduces a micro-batch to additive numbers, `*_metrics` turns the totals of a step into the
logged figures. A figure that is not defined in a step (nothing selected, say) is NaN, which TRL logs as null.
"""

from dataclasses import dataclass

import torch

from .functional.aggregate import masked_sum, sequence_means
from .functional.precision import wide


@dataclass(frozen=True)
class Metric:
    """One logged figure: its key in the log stream, its unit, and how it is computed."""

    key: str
    unit: str
    formula: str


TABLE = (
    Metric("siren/entropy", "nats", "H: mean over sequences of the mean nucleus entropy of their kept tokens"),
    Metric("siren/anchor", "nats", "H of the initial policy, or siren_anchor"),
    Metric("siren/penalty", "loss", "siren_coef * (H - anchor)^2; with siren_penalty='lower' 0 above the anchor"),
    Metric("siren/kept_share", "share", "tokens above their completion's quantile / tokens"),
    Metric("siren/nucleus_size", "words", "mean size of the nucleus over tokens"),
    Metric("cov/mean", "nats", "mean of C_t = (logp_t - mean logp)(A_t - mean A): the covariance itself"),
    Metric("cov/max", "nats", "largest C_t"),
    Metric("cov/selected_share", "share", "selected tokens / tokens"),
    Metric("cov/selected_mean", "nats", "mean of C_t over selected tokens"),
    Metric("cov/selected_negative_share", "share", "selected tokens with negative advantage / selected tokens"),
    Metric("entropy/q10", "nats", "10 % quantile of token entropy, mean over micro-batches"),
    Metric("entropy/q50", "nats", "median token entropy, mean over micro-batches"),
    Metric("entropy/q90", "nats", "90 % quantile of token entropy, mean over micro-batches"),
    Metric("entropy/positive_advantage", "nats", "mean entropy of tokens with positive advantage"),
    Metric("entropy/negative_advantage", "nats", "mean entropy of tokens with negative advantage"),
)

# Logged only with `entropy_guard`, or once there is a fault to count
SAFETY_TABLE = (
    Metric("guard/scale", "factor", "what the entropy guard has put on the entropy coefficients; 1 inside the bounds"),
    Metric("faults/skipped_updates", "steps", "updates left out so far for a non-finite gradient; if any"),
    Metric("faults/unscored_completions", "count", "completions of a generation without a reward; if any"),
)

# Logged only where their callback or argument asks for them
ANALYSIS_TABLE = (
    Metric("law/ceiling", "reward", "b - a: what R = b - a exp(H) gives at H = 0"),
    Metric("law/a", "reward", "a of the fit"),
    Metric("law/b", "reward", "b of the fit"),
    Metric("law/r2", "share", "variance of the reward that the fit explains"),
    Metric("dynamics/covariance", "nats", "mean of C_t over the measured completions"),
    Metric(
        "dynamics/state_covariance", "nats", "mean of (logp_t + H_t) A_t: the covariance inside each token's state"
    ),
    Metric("dynamics/entropy_change", "nats", "mean entropy after the update minus before it, on the same tokens"),
)

_QUANTILES = (0.1, 0.5, 0.9)


def siren_sums(
    nucleus_entropy: torch.Tensor, nucleus_size: torch.Tensor, kept: torch.Tensor, mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Sums for [`siren_metrics`] from (B, T) tensors."""
    means, counted = sequence_means(nucleus_entropy.detach(), kept)
    return {
        "sequence_entropy": wide(means).sum(),
        "sequences_counted": counted.sum(),
        "sequences": torch.full_like(means[:1].sum(), float(len(means))),
        "kept": kept.sum(),
        "tokens": mask.bool().sum(),
        "nucleus_size": masked_sum(wide(nucleus_size), mask),
    }


def siren_metrics(totals: dict[str, float], anchor: float | None, penalty: float) -> dict[str, float]:
    """The `siren/` figures of a step; `siren/entropy` is the entropy that the penalty holds to the anchor."""
    return {
        "siren/entropy": _ratio(totals["sequence_entropy"], totals["sequences_counted"]),
        "siren/anchor": float("nan") if anchor is None else anchor,
        "siren/penalty": penalty,
        "siren/kept_share": _ratio(totals["kept"], totals["tokens"]),
        "siren/nucleus_size": _ratio(totals["nucleus_size"], totals["tokens"]),
    }


def covariance_sums(
    covariance: torch.Tensor, selected: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Sums and maxima for [`covariance_metrics`] from (B, T) tensors; `advantages` may be (B,)."""
    advantages = advantages.unsqueeze(-1) if advantages.dim() == 1 else advantages
    sums = {
        "covariance": masked_sum(wide(covariance), mask),
        "covariance_tokens": mask.bool().sum(),
        "selected": selected.sum(),
        "selected_covariance": masked_sum(wide(covariance), selected),
        "selected_negative": (selected & (advantages < 0)).sum(),
    }
    return sums, {"covariance_max": covariance.masked_fill(~mask.bool(), -torch.inf).max()}


def covariance_metrics(totals: dict[str, float]) -> dict[str, float]:
    """The `cov/` figures of a selection."""
    return {
        "cov/mean": _ratio(totals["covariance"], totals["covariance_tokens"]),
        "cov/max": totals["covariance_max"] if totals["covariance_tokens"] else float("nan"),
        "cov/selected_share": _ratio(totals["selected"], totals["covariance_tokens"]),
        "cov/selected_mean": _ratio(totals["selected_covariance"], totals["selected"]),
        "cov/selected_negative_share": _ratio(totals["selected_negative"], totals["selected"]),
    }


def entropy_sums(entropy: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sums for [`entropy_metrics`] from (B, T) entropies and (B,) advantages."""
    entropy, mask = entropy.detach(), mask.bool()
    sign = advantages.unsqueeze(-1) if advantages.dim() == 1 else advantages
    positive, negative = mask & (sign > 0), mask & (sign < 0)
    # An infinite pad sorts last, so that quantiles of the counted tokens need no boolean indexing
    ordered = entropy.masked_fill(~mask, torch.inf).flatten().sort().values
    last = (mask.sum() - 1).clamp(min=0)
    some = mask.any()
    quantiles = {f"q{round(100 * q)}": torch.where(some, ordered[(q * last).round().long()], 0.0) for q in _QUANTILES}
    return {
        **quantiles,
        "quantile_batches": some,
        "positive_entropy": masked_sum(entropy, positive),
        "positive_tokens": positive.sum(),
        "negative_entropy": masked_sum(entropy, negative),
        "negative_tokens": negative.sum(),
    }


def entropy_metrics(totals: dict[str, float]) -> dict[str, float]:
    """The `entropy/` figures of a step."""
    names = [f"q{round(100 * q)}" for q in _QUANTILES]
    return {
        **{f"entropy/{name}": _ratio(totals[name], totals["quantile_batches"]) for name in names},
        "entropy/positive_advantage": _ratio(totals["positive_entropy"], totals["positive_tokens"]),
        "entropy/negative_advantage": _ratio(totals["negative_entropy"], totals["negative_tokens"]),
    }


def _ratio(total: float, count: float) -> float:
    return total / count if count else float("nan")
