"""Token covariance and the tokens that Clip-Cov and KL-Cov select by it (Entropy Mechanism, arXiv 2505.22617)."""

import torch

from .precision import wide, wide_dtype
from .selection import Scope, selection_count, take_at_random, take_largest


def covariance_moments(logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    r"""`[sum logp, sum A, N]` over the counted tokens: additive, so that batches and processes can be summed.

    Args and shapes as in [`token_covariance`]. Returns (3,), float64 (float32 on MPS), without gradient.
    """
    counted = mask.bool()
    logps, advantages = logps.detach(), per_token(advantages.detach(), logps)
    zero = logps.new_zeros((), dtype=wide_dtype(logps.device))
    return torch.stack(
        [
            torch.where(counted, wide(logps), zero).sum(),
            torch.where(counted, wide(advantages), zero).sum(),
            wide(counted.sum()),
        ]
    )


@torch.no_grad()
def token_covariance(
    logps: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    moments: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""How much each token contributes to the covariance of log-probability and advantage.

    `C_t = (logp_t - mean logp) * (A_t - mean A)`, means over the counted tokens (arXiv 2505.22617, on tokens of
    high covariance). The mean of `C` is the covariance that drives entropy: `Delta H ~ -eta * Cov(log pi, A)`, so
    entropy falls while it is positive.

    Args:
        logps: (B, T), log-probabilities of the sampled tokens, nats.
        advantages: (B,), (B, 1) or (B, T).
        mask: (B, T), bool or 0/1.
        moments: (3,), from [`covariance_moments`] summed over a wider batch; by default this batch's own.

    Returns:
        (B, T), 0 outside the mask, no gradient. All 0 when nothing counts.

    >>> logps, advantages = torch.tensor([[-1.0, -3.0]]), torch.tensor([[1.0, -1.0]])
    >>> token_covariance(logps, advantages, torch.ones(1, 2))
    tensor([[1., 1.]])
    """
    if moments is None:
        moments = covariance_moments(logps, advantages, mask)
    mean_logp, mean_advantage = (moments[:2] / moments[2].clamp(min=1)).to(logps.dtype)
    product = (logps - mean_logp) * (per_token(advantages, logps) - mean_advantage)
    return torch.where(mask.bool(), product, torch.zeros_like(product))


def clip_cov_candidates(covariance: torch.Tensor, mask: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """The tokens Clip-Cov may choose: `m_t and low < C_t < high`. (B, T), bool."""
    return mask.bool() & (covariance > low) & (covariance < high)


@torch.no_grad()
def select_clip_cov(
    covariance: torch.Tensor,
    mask: torch.Tensor,
    ratio: float,
    low: float,
    high: float,
    generator: torch.Generator,
) -> torch.Tensor:
    r"""Clip-Cov: `max(1, floor(ratio * N))` tokens, uniform among those with `low < C_t < high`.

    Their policy gradient is set to zero by the caller (arXiv 2505.22617).

    Args:
        covariance: (B, T), from [`token_covariance`].
        mask: (B, T); N is the number of counted tokens. Leave out tokens that PPO's clip already silences.
        ratio: share of the counted tokens; the paper's is 2e-4.
        low: lower end of the band; the paper's is 1, tuned for advantages divided by the group's std.
        high: its upper end; the paper's is 5.
        generator: source of the draw. The same generator state and candidates give the same tokens.

    Returns:
        (B, T), bool: fewer than asked for when the band holds fewer, none when it is empty. A NaN covariance is in
        no band.

    Raises:
        ValueError: for a ratio outside (0, 1].
    """
    count = selection_count(ratio, int(mask.bool().sum()))
    return take_at_random(clip_cov_candidates(covariance, mask, low, high), count, Scope(lambda: generator))


@torch.no_grad()
def select_kl_cov(covariance: torch.Tensor, mask: torch.Tensor, ratio: float) -> torch.Tensor:
    r"""KL-Cov: the `max(1, floor(ratio * N))` tokens of largest covariance, ties by position.

    Their loss gains a penalty on the move away from the old policy (arXiv 2505.22617).

    Args:
        covariance: (B, T), from [`token_covariance`].
        mask: (B, T); N is the number of counted tokens.
        ratio: share of the counted tokens; the paper's is 2e-3 (7B) and 2e-4 (32B).

    Returns:
        (B, T), bool; exactly that many tokens, none when nothing counts. A NaN covariance, and one NaN
        log-probability makes all of them NaN, counts as the largest.

    Raises:
        ValueError: for a ratio outside (0, 1].

    >>> select_kl_cov(torch.tensor([[0.1, 5.0, 2.0, 9.0]]), torch.tensor([[1, 1, 1, 0]]), 0.4)
    tensor([[False,  True, False, False]])
    """
    return take_largest(covariance, mask, selection_count(ratio, int(mask.bool().sum())), Scope())


def per_token(advantages: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Advantages (B,), (B, 1) or (B, T) as (B, T)."""
    advantages = advantages.unsqueeze(-1) if advantages.dim() == 1 else advantages
    return advantages.expand_as(like)
