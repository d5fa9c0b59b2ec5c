"""One micro-batch on its way through the loss, and what is done to a batch before TRL reads it."""

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class MicroBatch:
    """(B, T) unless noted; the last fields are filled when TRL's forward has run."""

    inputs: dict[str, Any]
    mask: torch.Tensor
    advantages: torch.Tensor  # as TRL made them, (B,) or (B, T)
    selected: torch.Tensor | None = None  # by Clip-Cov or KL-Cov
    covariance: torch.Tensor | None = None  # that they selected by
    logps: torch.Tensor = field(init=False)
    old_logps: torch.Tensor = field(init=False)
    entropy: torch.Tensor = field(init=False)
    nucleus_entropy: torch.Tensor = field(init=False)  # SIREN only, like the next
    nucleus_size: torch.Tensor = field(init=False)


def token_mask(inputs: dict[str, Any]) -> torch.Tensor:
    """The tokens that the policy wrote and that count, (B, T) bool: no padding, no output of a tool."""
    mask = inputs["completion_mask"]
    return (mask * inputs["tool_mask"] if "tool_mask" in inputs else mask).bool()


def clean_padding(inputs: dict[str, Any]) -> dict[str, Any]:
    """The batch with 0 for log-probabilities of padding, where TRL's product with its mask would spread a NaN."""
    counted = inputs["completion_mask"].bool()
    names = ("old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps")
    present = {name: inputs[name] for name in names if inputs.get(name) is not None}
    return {**inputs, **{name: torch.where(counted, logps, 0.0) for name, logps in present.items()}}


def silenced(advantages: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
    """Clip-Cov's effect: advantages (B, T), 0 on the selected tokens, whose policy gradient is thereby 0."""
    advantages = advantages.unsqueeze(-1) if advantages.dim() == 1 else advantages
    return torch.where(selected, 0.0, advantages)
