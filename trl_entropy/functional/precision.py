"""The widest float that a device has."""

import torch


def wide(values: torch.Tensor) -> torch.Tensor:
    """`values` as float64, or as float32 on a device without it (Apple's MPS)."""
    return values.to(wide_dtype(values.device))


def wide_dtype(device: torch.device) -> torch.dtype:
    """float64, float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64
