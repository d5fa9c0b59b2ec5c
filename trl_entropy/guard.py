"""The entropy guard: what to do when entropy leaves the bounds that the user set.

Off by default. `entropy_guard="stop"` ends the run with a checkpoint. `"lower"` halves the coefficients of the terms
that push entropy further out, at every optimizer step that it stays out, and doubles them back once it is inside; a
term that already pushes the right way is left alone, because lowering it would make things worse.
"""

import logging
import math

import torch

from .config import EntropyGRPOConfig
from .functional.aggregate import masked_sum
from .step.state import EntropyState


logger = logging.getLogger(__name__)

FACTOR = 0.5
FLOOR = 2.0**-10  # low enough to do nothing, and ten steps inside bring the coefficients back


def guard_sums(entropy: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sums for [`EntropyGuard.check`] from (B, T) entropies: the numerator and denominator of their mean."""
    return {"entropy_total": masked_sum(entropy.detach(), mask), "entropy_tokens": mask.sum()}


def breach(entropy: float, args: EntropyGRPOConfig) -> int:
    """-1 when `entropy` (nats) is below `entropy_guard_low`, 1 above `entropy_guard_high`, else 0."""
    if args.entropy_guard_low is not None and entropy < args.entropy_guard_low:
        return -1
    return int(args.entropy_guard_high is not None and entropy > args.entropy_guard_high)


def push(state: EntropyState, args: EntropyGRPOConfig) -> int:
    """Which way the entropy terms that are on push: 1 up, -1 down, 0 neither.

    SIREN pushes to its anchor (with `siren_penalty="lower"` only up), a fixed entropy bonus up while its coefficient
    is positive. TRL's adaptive bonus is left out: it lowers itself above its target.
    """
    directions = set()
    if args.siren and state.anchor is not None and state.entropy is not None:
        gap = state.anchor - state.entropy
        if gap > 0 or (gap < 0 and args.siren_penalty == "two_sided"):
            directions.add(1 if gap > 0 else -1)
    if args.entropy_coef != 0 and not args.use_adaptive_entropy:
        directions.add(1 if args.entropy_coef > 0 else -1)
    return directions.pop() if len(directions) == 1 else 0


class EntropyGuard:
    """Watches the mean token entropy of each optimizer step, over all processes."""

    def __init__(self, args: EntropyGRPOConfig):
        self.args = args
        self._said: tuple[int, bool] | None = None

    def check(self, totals: dict[str, float], state: EntropyState, step: int) -> bool:
        """From a step's totals, update `state.guard_scale`, say what was done; returns whether the run must stop."""
        entropy = totals["entropy_total"] / totals["entropy_tokens"] if totals["entropy_tokens"] else math.nan
        if math.isnan(entropy):
            return False
        out = breach(entropy, self.args)
        if not out:
            state.guard_scale = min(1.0, state.guard_scale / FACTOR)
            self._said = None
            return False
        bounds = f"[{self.args.entropy_guard_low}, {self.args.entropy_guard_high}]"
        side = "above" if out > 0 else "below"
        head = f"Step {step}: entropy is {entropy:.4g} nats, {side} entropy_guard's {bounds}"
        if self.args.entropy_guard == "stop":
            logger.error(f"{head}. The run stops here, with a checkpoint.")
            return True
        harmful = push(state, self.args) == out
        if harmful:
            state.guard_scale = max(state.guard_scale * FACTOR, FLOOR)
        if self._said != (out, harmful):  # once for each excursion
            self._said = (out, harmful)
            done = f"the entropy coefficients are halved at every step that it stays, now x {state.guard_scale:g}"
            if not harmful:
                done = "no entropy term pushes that way, so none is lowered: look at learning_rate and epsilon"
            logger.warning(f"{head}; {done}.")
        return False
