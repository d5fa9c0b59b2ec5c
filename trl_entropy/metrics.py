"""What is logged: one table of keys, units and formulas, and the functions that compute them.

Each group has two: `*_sums` reduces a micro-batch to additive numbers, `*_metrics` turns the totals of a step into the
logged numbers. A number that is not defined in a step (nothing selected, say) is NaN, which TRL logs as null.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from .functional.aggregate import masked_sum
from .functional.precision import wide


@dataclass(frozen=True)
class Metric:
    """One logged number: its key in the log stream, its unit, and how it is computed."""

    key: str
    unit: str
    formula: str


# Logged by every run: the gradient's two masses (FADE, arXiv 2607.01490), of the advantages a generation begins with
MASS_TABLE = (
    Metric("advantage/positive_mass", "advantage", "sum of the positive advantages of tokens / tokens"),
    Metric("advantage/negative_mass", "advantage", "minus the sum of the negative advantages of tokens / tokens"),
    Metric("advantage/prompts_with_gradient", "share", "prompts with an advantage that is not 0 / prompts"),
)

# Logged while a method or a controller is on, or with `log_entropy_details`; a method's own keys stand in its file
TABLE = (
    Metric("entropy/q10", "nats", "10 % quantile of token entropy, mean over micro-batches"),
    Metric("entropy/q50", "nats", "median token entropy, mean over micro-batches"),
    Metric("entropy/q90", "nats", "90 % quantile of token entropy, mean over micro-batches"),
    Metric("entropy/positive_advantage", "nats", "mean entropy of tokens with positive advantage"),
    Metric("entropy/negative_advantage", "nats", "mean entropy of tokens with negative advantage"),
)

# Logged once there is a fault to count
SAFETY_TABLE = (
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


def mass_sums(advantages: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sums for [`mass_metrics`] from advantages (B, T) and the mask (B, T) of tokens that count."""
    return {
        "positive": masked_sum(wide(advantages.clamp(min=0)), mask),
        "negative": masked_sum(wide((-advantages).clamp(min=0)), mask),
        "tokens": mask.sum(),
    }


def mass_metrics(totals: Mapping[str, float], informative: float) -> dict[str, float]:
    """The `advantage/` numbers of a generation."""
    return {
        "advantage/positive_mass": ratio(totals["positive"], totals["tokens"]),
        "advantage/negative_mass": ratio(totals["negative"], totals["tokens"]),
        "advantage/prompts_with_gradient": informative,
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
        "entropy": masked_sum(entropy, mask),
        "tokens": mask.sum(),
    }


def entropy_metrics(totals: Mapping[str, float]) -> dict[str, float]:
    """The `entropy/` numbers of a step."""
    names = [f"q{round(100 * q)}" for q in _QUANTILES]
    return {
        **{f"entropy/{name}": ratio(totals[name], totals["quantile_batches"]) for name in names},
        "entropy/positive_advantage": ratio(totals["positive_entropy"], totals["positive_tokens"]),
        "entropy/negative_advantage": ratio(totals["negative_entropy"], totals["negative_tokens"]),
    }


def ratio(total: float, count: float) -> float:
    """`total / count`, NaN where there is nothing to divide by."""
    return total / count if count else float("nan")
