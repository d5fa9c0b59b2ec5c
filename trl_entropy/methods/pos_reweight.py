"""Positive reweighting: the weight of positive advantages follows entropy (arXiv 2511.05993)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..functional.aggregate import masked_sum
from ..functional.precision import wide
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, argument
from .control.target import LARGEST


@dataclass
class PosReweightArguments:
    pos_reweight_step: float = argument(
        0.0,
        "By how much the weight of positive advantages moves at each optimizer step: down while entropy is below the "
        "target, up while it is above.",
        lambda x: 0 <= x < 1,
        "a number in [0, 1)",
        0.05,
    )
    pos_reweight_target: float | None = argument(
        None,
        "Mean token entropy to hold, nats.",
        lambda x: x is None or 0 < x < LARGEST,
        f"nats > 0 and below {LARGEST}",
    )
    pos_reweight_min: float = argument(
        0.0, "Least weight; it begins at 1.", lambda x: 0 <= x <= 1, "a number in [0, 1]"
    )
    pos_reweight_max: float = argument(1.0, "Largest weight.", lambda x: 1 <= x < math.inf, "a finite number >= 1")


@dataclass
class PosReweightState:
    """`weight` of positive advantages in the next optimizer step."""

    weight: float = 1.0


class PosReweight(Method):
    """Positive advantages times lambda, which a sign step moves by entropy against its target."""

    key = "pos_reweight"
    name = "Positive reweighting"
    switch = "pos_reweight_step"
    paper = Paper(
        "Revisiting Entropy in Reinforcement Learning for Large Reasoning Models",
        "2511.05993",
        "Renren Jin and Pengzhi Gao and Yuqi Ren and Zhuowen Han and Tongxuan Zhang and Wuwei Huang and Wei Liu and "
        "Jian Luan and Deyi Xiong",
    )
    summary = (
        "weighs positive advantages less while entropy is below a target",
        "entropy should be held at a number of nats without a term in the loss",
        "none",
    )
    metrics = (Metric("pos_reweight/weight", "factor", "weight of positive advantages in this step"),)
    published = {"pos_reweight_step": 0.05}
    example = {"pos_reweight_step": 0.05, "pos_reweight_target": 9.0}
    Arguments = PosReweightArguments
    State = PosReweightState
    state: PosReweightState

    @classmethod
    def check(cls, args: Any) -> None:
        if args.pos_reweight_target is None:
            raise ValueError("pos_reweight_step needs pos_reweight_target, the entropy to hold, in nats.")
        if args.pos_reweight_min == args.pos_reweight_max:
            raise ValueError("pos_reweight_min and pos_reweight_max are both 1, which leaves the weight no room.")

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return torch.where(advantages > 0, self.state.weight * advantages, advantages)

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        return {"entropy": masked_sum(wide(micro.entropy), micro.mask), "tokens": micro.mask.sum()}, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        used, entropy = self.state.weight, ratio(totals["entropy"], totals["tokens"])
        if math.isfinite(entropy):
            step = math.copysign(self.args.pos_reweight_step, entropy - self.args.pos_reweight_target)
            self.state.weight = min(max(used + step, self.args.pos_reweight_min), self.args.pos_reweight_max)
        return {"pos_reweight/weight": used}
