"""What the theorem of the Entropy Mechanism says moves entropy, beside what entropy did (arXiv 2505.22617)."""

import torch

from .covariance import per_token
from .precision import wide, wide_dtype


@torch.no_grad()
def state_covariance(
    logps: torch.Tensor, entropy: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    r"""Each token's contribution to the covariance *inside its state*: `(logp_t + H_t) * A_t`.

    The theorem (arXiv 2505.22617, theorem 1): a natural-gradient step of size eta on a tabular softmax changes the
    entropy of every state s by `-eta * Cov_{a ~ pi(.|s)}(log pi(a|s), A(s, a))`, to first order in eta. The mean of
    `log pi` in a state is `-H(s)`, so this is a one-sample estimate of that covariance, unbiased for any centring of
    A. The batch-centred covariance replaces `-H(s)` by one number for all states: it adds the covariance *between*
    the states' mean log-probabilities and mean advantages, which moves no state's entropy.

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
def dynamics_sums(
    logps: torch.Tensor, entropy: torch.Tensor, advantages: torch.Tensor, after: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    r"""What [`dynamics_means`] divides: additive, so that micro-batches and processes can be summed.

    Args as in [`state_covariance`], and `after`: (B, T), the entropy after the update, nats.

    Returns:
        (7,), float64 (float32 on MPS), over the counted tokens: their number, then the sums of logp, A, logp A,
        (logp + H) A, H, and H after minus H before.
    """
    counted, zero = mask.bool(), torch.zeros((), dtype=wide_dtype(logps.device), device=logps.device)
    lp, h, a, h2 = (torch.where(counted, wide(v), zero) for v in (logps, entropy, per_token(advantages, logps), after))
    return torch.stack([v.sum() for v in (wide(counted), lp, a, lp * a, (lp + h) * a, h, h2 - h)])


def dynamics_means(sums: torch.Tensor) -> dict[str, float]:
    """The covariances and the change of entropy, from [`dynamics_sums`] added up. Nats, 0 when nothing counts.

    Returns:
        `covariance`: mean of `(logp - mean logp)(A - mean A)`; `state_covariance`: mean of `(logp + H) A`;
        `entropy_before`; `entropy_change`; `tokens`.
    """
    tokens = sums[0].clamp(min=1)
    logp, advantage, product, state, before, change = (sums[1:] / tokens).tolist()
    return {
        "covariance": product - logp * advantage,
        "state_covariance": state,
        "entropy_before": before,
        "entropy_change": change,
        "tokens": int(sums[0]),
    }
