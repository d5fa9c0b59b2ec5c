"""The band: coefficients rest while entropy is close enough to its target."""

import math
from dataclasses import dataclass

from ...metrics import Metric
from ..base import argument
from .target import TargetArguments, TargetController


@dataclass
class BandArguments(TargetArguments):
    band_width: float = argument(
        0.0,
        "Half the width, nats, of the band around the target in which nothing moves.",
        lambda x: 0 <= x < math.inf,
        "nats >= 0",
    )
    band_step: float = argument(
        0.1,
        "By how much the factor on a coefficient moves at each optimizer step outside of the band.",
        lambda x: 0 < x < math.inf,
        "a finite number > 0",
    )


class Band(TargetController):
    """`g + step sign(error)` outside of `target +- width`."""

    key = "band"
    name = "Band"
    switch = "band_width"
    summary = (
        "steps each coefficient only while entropy is outside of a band around its target",
        "coefficients should not follow the noise of single steps",
        "none",
    )
    metrics = (
        Metric("band/target", "nats", "entropy that is held"),
        Metric("band/factor", "factor", "largest factor on a coefficient"),
    )
    example = {"band_width": 0.1, "control_target": 5.0, "entropy_coef": 0.01}
    Arguments = BandArguments

    def move(self, name: str, gain: float, error: float) -> float:
        if abs(error) <= self.args.band_width:
            return gain
        return gain + math.copysign(self.args.band_step, error)
