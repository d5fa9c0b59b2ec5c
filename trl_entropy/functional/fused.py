"""The fused head (first version: the plain twin on token chunks)."""

import torch

from trl_entropy.functional.dense import Gather, dense_log_probs, held_in_full


def fused_log_probs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    *,
    nucleus: str = "inclusive",
    logit_scale: float = 1.0,
    softcap: float | None = None,
    gather: Gather = held_in_full,
    tile_bytes: int | None = None,
    return_nucleus_size: bool = False,
) -> tuple[torch.Tensor, ...]:
    """As [`dense_log_probs`][trl_entropy.functional.dense.dense_log_probs]."""
    return dense_log_probs(
        hidden, weight, bias, targets, temperature, top_p, nucleus=nucleus, logit_scale=logit_scale, softcap=softcap,
        gather=gather, return_nucleus_size=return_nucleus_size,
    )
