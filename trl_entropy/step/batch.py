"""What is read off a batch, and done to it, before TRL sees it."""

from typing import Any

import torch


# Batch keys that TRL's scoring forward takes besides token ids, for models that see more than text
FORWARD_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)


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


def scoring_arguments(batch: dict[str, Any]) -> tuple[tuple[torch.Tensor, torch.Tensor, int], dict[str, Any]]:
    """What TRL's scoring forward takes: token ids, attention mask and the number to keep; the rest by name."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    return (ids, attention, batch["completion_ids"].size(1)), {k: batch[k] for k in FORWARD_KEYS if k in batch}
