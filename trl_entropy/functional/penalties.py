"""The two added losses: SIREN's anchored penalty and KL-Cov's penalty."""

from typing import Literal

import torch


PenaltySide = Literal["two_sided", "lower"]


def anchored_penalty(
    entropy: torch.Tensor,
    anchor: float,
    coef: float,
    side: PenaltySide = "two_sided",
    reference: float | None = None,
) -> torch.Tensor:
    r"""SIREN's self-anchored penalty (arXiv 2509.25133), of this batch or expanded about a wider one.

    Without `reference`: `coef * (H - anchor)^2`, the penalty of the entropy given.

    With `reference` `H0`, the entropy of the whole batch, its first-order expansion
    `coef * (H0 - anchor)^2 + 2 coef (H0 - anchor) (H - H0)`, whose last factor is taken as 0 in value and as `dH` in
    gradient. The square of a micro-batch mean would also punish variety between sequences, since
    `E[(h - a)^2] = (E h - a)^2 + Var h`; the expansion is linear in `H`, so its gradient adds up to that of the batch
    penalty however the batch is split.

    Args:
        entropy: scalar, the aggregated nucleus entropy `H`, nats, with gradient.
        anchor: the same figure of the initial policy, nats.
        coef: beta, at least 0; the paper's is 0.005.
        side: "two_sided" (the paper's) pulls entropy to the anchor from both sides; "lower" acts only below it.
        reference: `H0`, nats.

    Returns:
        A scalar. Value and gradient are 0 where the entropy sits on the anchor.

    >>> anchored_penalty(torch.tensor(0.5), anchor=0.7, coef=1.0)
    tensor(0.0400)
    """
    if reference is None:
        gap = entropy - anchor
        gap = gap.clamp(max=0) if side == "lower" else gap
        return coef * gap.square()
    fixed = min(reference - anchor, 0.0) if side == "lower" else reference - anchor
    return coef * fixed**2 + 2 * coef * fixed * (entropy - entropy.detach())


def kl_cov_penalty(logps: torch.Tensor, old_logps: torch.Tensor, selected: torch.Tensor, coef: float) -> torch.Tensor:
    r"""KL-Cov's per-token loss, `coef * |logp_t - old_logp_t|` on the selected tokens (arXiv 2505.22617, KL-Cov).

    Its gradient is `coef * sign(logp_t - old_logp_t)` on the log-probability: full strength however small the move,
    and 0 where there was none.

    Args:
        logps: (B, T), of the policy being trained, with gradient.
        old_logps: (B, T), of the policy that generated.
        selected: (B, T), bool, from [`select_kl_cov`].
        coef: beta; the paper's is 1.

    Returns:
        (B, T), exactly 0 in value and gradient on every other token, NaN there or not.
    """
    move = torch.where(selected, logps - old_logps.detach(), torch.zeros_like(logps))
    return coef * move.abs()
