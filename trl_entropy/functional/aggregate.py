"""Masked means and TRL's loss normalisations. Every denominator is an argument or a mask, never a global."""

import torch


LOSS_TYPES = ("grpo", "sapo", "bnpo", "dr_grpo", "dapo", "cispo", "vespo", "luspo")


def masked_sum(values: torch.Tensor, mask: torch.Tensor, dim: int | tuple[int, ...] | None = None) -> torch.Tensor:
    r"""`sum_i m_i x_i`, in which a masked entry counts as nothing even where it is NaN or infinite.

    Args:
        values: any shape.
        mask: same shape, bool or 0/1; 1 where an entry counts.
        dim: dimensions to sum over; all of them when `None`.

    Returns:
        The sum. The gradient is 1 on counted entries and exactly 0 elsewhere.
    """
    kept = torch.where(mask.bool(), values, torch.zeros_like(values))
    return kept.sum() if dim is None else kept.sum(dim)


def masked_mean(values: torch.Tensor, mask: torch.Tensor, dim: int | tuple[int, ...] | None = None) -> torch.Tensor:
    r"""`sum_i m_i x_i / max(1, sum_i m_i)`: the mean over counted entries, 0 where nothing counts.

    Shapes, errors and gradient as in [`masked_sum`].

    >>> masked_mean(torch.tensor([1.0, 3.0, float("nan")]), torch.tensor([1, 1, 0]))
    tensor(2.)
    """
    count = mask.bool().sum() if dim is None else mask.bool().sum(dim)
    return masked_sum(values, mask, dim) / count.clamp(min=1)


def sequence_means(values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Mean over the counted tokens of each sequence, and which sequences have one at all.

    The two-level mean of SIREN (arXiv 2509.25133, aggregation) is `means[counted].mean()`: a sequence with no counted
    token is left out, it does not enter as 0.

    Args:
        values: (B, T).
        mask: (B, T), bool or 0/1.

    Returns:
        `means` (B,), 0 where nothing counts, and `counted` (B,), bool.

    >>> sequence_means(torch.tensor([[1.0, 3.0], [9.0, 9.0]]), torch.tensor([[1, 1], [0, 0]]))
    (tensor([2., 0.]), tensor([ True, False]))
    """
    return masked_mean(values, mask, dim=-1), mask.bool().any(-1)


def aggregate_token_loss(
    per_token_loss: torch.Tensor,
    mask: torch.Tensor,
    loss_type: str,
    *,
    max_completion_length: int | None = None,
    num_items: torch.Tensor | float | None = None,
) -> torch.Tensor:
    r"""Reduce a per-token loss to a scalar with the normaliser that TRL's GRPO uses for `loss_type`.

    | loss_type | formula |
    |---|---|
    | grpo, sapo | mean over sequences of the token mean of each |
    | bnpo | mean over all counted tokens |
    | dr_grpo | sum / (B * `max_completion_length`) |
    | dapo, cispo, vespo | sum / `num_items` |
    | luspo | mean over sequences of the token sum of each |

    Args:
        per_token_loss: (B, T).
        mask: (B, T), 1 on tokens that count.
        loss_type: one of the names above.
        max_completion_length: the constant length of `dr_grpo`.
        num_items: the token count of `dapo`, `cispo` and `vespo`, above 0, scaled by the caller to one backward pass.

    Returns:
        A scalar, before division by the number of accumulation steps.

    Raises:
        ValueError: for an unknown loss type, or one whose denominator was not given.
    """
    if loss_type in ("grpo", "sapo"):
        return masked_mean(per_token_loss, mask, dim=-1).mean()
    if loss_type == "bnpo":
        return masked_mean(per_token_loss, mask)
    if loss_type == "luspo":
        return masked_sum(per_token_loss, mask, dim=-1).mean()
    if loss_type == "dr_grpo":
        if max_completion_length is None:
            raise ValueError("loss_type='dr_grpo' divides by B * max_completion_length: give max_completion_length.")
        return masked_sum(per_token_loss, mask) / (per_token_loss.size(0) * max_completion_length)
    if loss_type in ("dapo", "cispo", "vespo"):
        if num_items is None:
            raise ValueError(f"loss_type={loss_type!r} divides by the number of tokens in the batch: give num_items.")
        return masked_sum(per_token_loss, mask) / num_items
    raise ValueError(f"loss_type={loss_type!r} is not known; expected one of {', '.join(LOSS_TYPES)}.")
