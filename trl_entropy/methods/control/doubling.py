"""Doubling and halving against a target entropy, as REPO moves its zeta (arXiv 2603.11682)."""

import math
from dataclasses import dataclass

from ...metrics import Metric
from ..base import argument
from ..repo import PAPER
from .target import TargetArguments, TargetController


@dataclass
class DoublingArguments(TargetArguments):
    doubling_factor: float | None = argument(
        None,
        "The factor on a coefficient is multiplied by this while entropy is on the wrong side of the target, divided "
        "by it while it is on the other.",
        lambda x: x is None or 1 < x < math.inf,
        "a number > 1, or null",
        2.0,
    )


class Doubling(TargetController):
    """`g factor` or `g / factor`."""

    key = "doubling"
    name = "Doubling"
    switch = "doubling_factor"
    paper = PAPER
    summary = (
        "doubles or halves each coefficient against a target entropy",
        "the right size of a coefficient is not known within an order of magnitude",
        "none",
    )
    metrics = (
        Metric("doubling/target", "nats", "entropy that is held"),
        Metric("doubling/factor", "factor", "largest factor on a coefficient"),
    )
    example = {"doubling_factor": 2.0, "control_target": 1.0, "control_target_unit": "initial", "entropy_coef": 0.01}
    Arguments = DoublingArguments

    def move(self, name: str, gain: float, error: float) -> float:
        if error == 0:
            return gain
        # from 0 there is no way up by multiplication
        return max(gain, 1e-6) * self.args.doubling_factor ** math.copysign(1, error)
