"""Which tokens of a trajectory are its peaks: per-trajectory quantile masks (SIREN, arXiv 2509.25133)."""

import torch


def sequence_quantile(values: torch.Tensor, mask: torch.Tensor, quantile: float) -> torch.Tensor:
    r"""The `quantile` of each row over its counted entries, linearly interpolated as `numpy.quantile` does.

    A step of SIREN's peak-entropy mask (arXiv 2509.25133).

    Args:
        values: (B, T).
        mask: (B, T), bool or 0/1.
        quantile: in [0, 1].

    Returns:
        (B,), in the unit of `values`; `inf` for a row with no counted entry. A counted NaN counts as the largest.

    Raises:
        ValueError: for a quantile outside [0, 1].

    >>> sequence_quantile(torch.tensor([[1.0, 2.0, 4.0, 9.0]]), torch.tensor([[1, 1, 1, 0]]), 0.75)
    tensor([3.])
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile={quantile} is not allowed; give a number in [0, 1].")
    counted = mask.bool()
    ordered = torch.where(counted, values, torch.full_like(values, torch.inf)).sort(-1).values
    last = (counted.sum(-1) - 1).clamp(min=0)
    position = quantile * last.to(values.dtype)
    below = position.floor().long()
    above = torch.minimum(below + 1, last)
    low = ordered.gather(-1, below.unsqueeze(-1)).squeeze(-1)
    high = ordered.gather(-1, above.unsqueeze(-1)).squeeze(-1)
    return torch.where(high > low, low + (position - below) * (high - low), low)


@torch.no_grad()
def peak_entropy_mask(entropy: torch.Tensor, mask: torch.Tensor, quantile: float) -> torch.Tensor:
    r"""Keep the tokens of each trajectory whose entropy lies above that trajectory's own quantile.

    `kept_t = m_t and H_t > Q_tau({H_s : m_s = 1})`: the peak-entropy mask of SIREN (arXiv 2509.25133), with
    `tau = 0.8` about the top 20 % of a trajectory. The comparison is strict, so a trajectory without a peak (a single
    token, or all entropies equal) keeps nothing; `quantile = 0` turns the mask off and keeps every counted token.
    Padding can never be kept. No gradient.

    Args:
        entropy: (B, T), nats; whatever stands outside the mask (NaN included) is not read.
        mask: (B, T), bool or 0/1.
        quantile: tau, in [0, 1).

    Returns:
        (B, T), bool.

    Raises:
        ValueError: for a quantile outside [0, 1).

    >>> peak_entropy_mask(torch.tensor([[0.1, 0.9, 0.2, 0.3, 7.0]]), torch.tensor([[1, 1, 1, 1, 0]]), 0.5)
    tensor([[False,  True, False,  True, False]])
    """
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile={quantile} is not allowed; give a number in [0, 1), for example 0.8.")
    counted = mask.bool()
    if quantile == 0:
        return counted
    return counted & (entropy > sequence_quantile(entropy, mask, quantile).unsqueeze(-1))
