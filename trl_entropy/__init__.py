"""Entropy control for TRL's GRPO: SIREN (arXiv 2509.25133), Clip-Cov and KL-Cov (arXiv 2505.22617)."""

from typing import TYPE_CHECKING


__version__ = "0.1.0"
"""The package's version."""
__all__ = ["EntropyGRPOConfig", "EntropyGRPOTrainer", "__version__"]

if TYPE_CHECKING:
    from .config import EntropyGRPOConfig
    from .grpo_trainer import EntropyGRPOTrainer


def __getattr__(name: str):
    # Imported on first use: `trl_entropy.plots` and `trl_entropy.report` must not pay for torch and TRL.
    if name == "EntropyGRPOConfig":
        from .config import EntropyGRPOConfig

        return EntropyGRPOConfig
    if name == "EntropyGRPOTrainer":
        from .grpo_trainer import EntropyGRPOTrainer

        return EntropyGRPOTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
