"""What the theorem of the Entropy Mechanism says moves entropy, and which tokens carry it (arXiv 2505.22617)."""

import torch

from .covariance import per_token, token_covariance
from .precision import wide, wide_dtype


# Upper ends of the log-probability bins, nats: probabilities 0.1 %, 1 %, 10 %, 50 %, 90 %, 1.
LOGP_EDGES = (-6.91, -4.61, -2.30, -0.69, -0.105)


@torch.no_grad()
def state_covariance(
    logps: torch.Tensor, entropy: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    r"""Each token's contribution to the covariance *inside its state*: `(logp_t + H_t) * A_t`.

    The theorem (arXiv 2505.22617, theorem 1) has `Cov_{a ~ pi(.|s)}(log pi(a|s), A(s, a))` in every state s. The
    mean of `log pi` there is `-H(s)`, so this is a one-sample estimate of it, unbiased for any centring of A. The
    batch-centred covariance replaces `-H(s)` by one number for all states and so also counts the differences between
    states.

    Args:
        logps: (B, T), log-probabilities of the sampled tokens, nats.
        entropy: (B, T), full entropy of the policy at each position, nats.
        advantages: (B,), (B, 1) or (B, T).
        mask: (B, T), bool or 0/1.

    Returns:
        (B, T), 0 outside the mask, no gradient.

    >>> logps, entropy = torch.tensor([[-0.2, -3.0]]), torch.tensor([[0.5, 1.0]])
    >>> state_covariance(logps, entropy, torch.tensor([2.0]), torch.ones(1, 2))
    tensor([[ 0.6000, -4.0000]])
    """
    term = (logps + entropy) * per_token(advantages, logps)
    return torch.where(mask.bool(), term, torch.zeros_like(term))


@torch.no_grad()
def dynamics_terms(
    logps: torch.Tensor, entropy: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    r"""The two covariances whose negative predicts the sign of the entropy's change.

    Args as in [`state_covariance`].

    Returns:
        `covariance`: mean over the counted tokens of `(logp - mean logp)(A - mean A)`; `state_covariance`: mean of
        `(logp + H) A`. Scalars, nats, 0 when nothing counts.
    """
    tokens = mask.bool().sum().clamp(min=1)
    return {
        "covariance": token_covariance(logps, advantages, mask).sum() / tokens,
        "state_covariance": state_covariance(logps, entropy, advantages, mask).sum() / tokens,
    }


@torch.no_grad()
def entropy_drivers(
    logps: torch.Tensor,
    advantages: torch.Tensor,
    change: torch.Tensor,
    mask: torch.Tensor,
    edges: tuple[float, ...] = LOGP_EDGES,
) -> torch.Tensor:
    r"""Which tokens drive entropy, by log-probability bin and sign of advantage.

    Args:
        logps: (B, T), nats.
        advantages: (B,), (B, 1) or (B, T). Tokens of advantage 0 are in neither sign.
        change: (B, T), entropy after the update minus entropy before it, nats.
        mask: (B, T).
        edges: E ascending upper ends of the bins; the last bin is open, so there are E + 1.

    Returns:
        (2, E + 1, 3): for positive then negative advantages, for each bin from improbable to probable, the share of
        the counted tokens, their part of the mean covariance, and their part of the mean entropy change. The last two
        add up to the means when no advantage is 0.
    """
    counted, sign = mask.bool(), per_token(advantages, logps)
    covariance = token_covariance(logps, advantages, mask)
    bins = torch.bucketize(logps.detach().contiguous(), torch.tensor(edges, dtype=logps.dtype, device=logps.device))
    zero = torch.zeros((), dtype=wide_dtype(logps.device), device=logps.device)
    figures = [torch.where(counted, wide(v), zero) for v in (torch.ones_like(logps), covariance, change)]
    table = torch.zeros(2, len(edges) + 1, 3, dtype=zero.dtype, device=logps.device)
    for row, chosen in enumerate((counted & (sign > 0), counted & (sign < 0))):
        for column, figure in enumerate(figures):
            table[row, :, column].index_add_(0, bins[chosen], figure[chosen])
    return table / counted.sum().clamp(min=1)
