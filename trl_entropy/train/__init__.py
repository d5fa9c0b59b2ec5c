"""The training script, to be launched: `accelerate launch -m trl_entropy.train --config FILE`. See `script.train`."""

from ..script.train import main


__all__ = ["main"]
