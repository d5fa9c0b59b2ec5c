"""Where PPO's clip has already removed a token's policy gradient."""

import torch


CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


@torch.no_grad()
def ppo_clipped(
    logps: torch.Tensor,
    old_logps: torch.Tensor,
    advantages: torch.Tensor,
    low: float,
    high: float,
    delta: float | None = None,
) -> torch.Tensor:
    r"""Tokens whose gradient `-min(c(r, delta) A, clip(r, 1 - low, 1 + high) A)` removes, `r = exp(logp - old_logp)`.

    `A > 0`: `r > 1 + high`, or with `delta`, the upper bound of two-sided clipping, `r > min(delta, 1 + high)`.
    `A < 0`: `r < 1 - low`, and with `delta` also `r > max(delta, 1 + high)`. `A = 0` has no gradient to remove.

    Args:
        logps, old_logps, advantages: (B, T).
        low, high: PPO's epsilons.
        delta: TRL's `delta`, or None.

    Returns:
        (B, T), bool.

    >>> ratios = torch.tensor([[1.3, 0.7, 1.3, 0.7]])
    >>> ppo_clipped(ratios.log(), torch.zeros(1, 4), torch.tensor([[1.0, 1.0, -1.0, -1.0]]), 0.2, 0.2)
    tensor([[ True, False, False,  True]])
    """
    ratio = torch.exp(logps - old_logps)
    upper = 1 + high
    over = (ratio > (upper if delta is None else min(delta, upper))) & (advantages > 0)
    under = (ratio < 1 - low) & (advantages < 0)
    if delta is not None:
        under |= (ratio > max(delta, upper)) & (advantages < 0)
    return over | under
