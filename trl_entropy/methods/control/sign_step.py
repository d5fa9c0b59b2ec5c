"""The sign step: one step towards the target, at each optimizer step (Skywork-OR1)."""

import math
from dataclasses import dataclass

from ...metrics import Metric
from ..base import Paper, argument
from .target import TargetArguments, TargetController


@dataclass
class SignStepArguments(TargetArguments):
    sign_step_size: float = argument(
        0.0,
        "By how much the factor on a coefficient moves at each optimizer step: up while entropy is on the wrong "
        "side of "
        "the target, down while it is on the other. The coefficient's own value is its unit.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
    )


class SignStep(TargetController):
    """`g + size sign(error)`."""

    key = "sign_step"
    name = "Sign step"
    switch = "sign_step_size"
    paper = Paper("Skywork Open Reasoner 1 Technical Report", "2505.22312", "Jujie He and others")
    summary = (
        "steps each coefficient towards a target entropy",
        "a slow, robust hand; start at 0 with `control_start` as Skywork-OR1 does",
        "none",
    )
    metrics = (
        Metric("sign_step/target", "nats", "entropy that is held"),
        Metric("sign_step/factor", "factor", "largest factor on a coefficient"),
    )
    example = {"sign_step_size": 0.1, "control_target": 5.0, "entropy_coef": 0.01}
    Arguments = SignStepArguments

    def move(self, name: str, gain: float, error: float) -> float:
        return gain + math.copysign(self.args.sign_step_size, error) if error else gain
