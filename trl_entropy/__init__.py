"""Entropy control for TRL's GRPO: SIREN (arXiv 2509.25133), Clip-Cov and KL-Cov (arXiv 2505.22617), and others."""

from importlib import import_module
from typing import TYPE_CHECKING


__version__ = "0.1.0"
"""The package's version."""
__all__ = ["EntropyControl", "EntropyGRPOConfig", "EntropyGRPOTrainer", "Method", "TrlEntropyError", "__version__"]

if TYPE_CHECKING:
    from .config import EntropyGRPOConfig
    from .grpo_trainer import EntropyGRPOTrainer
    from .methods import Method
    from .trainer import EntropyControl


class TrlEntropyError(Exception):
    """The base class of this package's errors: something that is refused or could not be done.

    The message says what was given, what is allowed, what to do.
    """


_HOME = {
    "EntropyControl": "trainer",
    "EntropyGRPOConfig": "config",
    "EntropyGRPOTrainer": "grpo_trainer",
    "Method": "methods",
}


def __getattr__(name: str):
    # Imported on first use: `trl_entropy.plots` and `trl_entropy.report` must not pay for torch and TRL.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
