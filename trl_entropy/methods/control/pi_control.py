"""A proportional-integral controller with a frozen integral at its bounds."""

import math
from dataclasses import dataclass

from ...metrics import Metric
from ..base import argument
from .target import TargetArguments, TargetController


@dataclass
class PIControlArguments(TargetArguments):
    pi_control_gain: float = argument(
        0.0,
        "Proportional gain: factor by nat of error.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
    )
    pi_control_integral: float = argument(
        0.0,
        "Integral gain: factor by nat of error and optimizer step. The sum is frozen while the factor lies on a "
        "bound.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
    )


class PIControl(TargetController):
    """`g = start + k_p error + k_i sum(error)`."""

    key = "pi_control"
    name = "Proportional-integral"
    switch = "pi_control_gain"
    summary = (
        "moves each coefficient by the error and its sum, which holds a target without a rest",
        "a target must be met exactly over a long run",
        "none",
    )
    metrics = (
        Metric("pi_control/target", "nats", "entropy that is held"),
        Metric("pi_control/factor", "factor", "largest factor on a coefficient"),
    )
    example = {"pi_control_gain": 1.0, "pi_control_integral": 0.1, "control_target": 5.0, "entropy_coef": 0.01}
    Arguments = PIControlArguments

    def move(self, name: str, gain: float, error: float) -> float:
        total = self.state.integrals.get(name, 0.0)
        wanted = self._output(error, total + error)
        if self.args.control_min < wanted < self.args.control_max:  # wind-up: on a bound the sum stays
            self.state.integrals[name] = total + error
        return wanted

    def _output(self, error: float, total: float) -> float:
        return self.args.control_start + self.args.pi_control_gain * error + self.args.pi_control_integral * total
