"""W-REINFORCE and NSR: right answers count little or not at all (arXiv 2506.01347)."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .base import Group, Method, Paper, argument, unused_scale


@dataclass
class WReinforceArguments:
    w_reinforce_positive: float | None = argument(
        None,
        "lambda: weight of right answers. 0 learns from wrong ones alone (NSR).",
        lambda x: x is None or 0 <= x < math.inf,
        "a finite number >= 0, or null",
        0.1,
    )
    w_reinforce_baseline: Literal["none", "group"] = argument(
        "none",
        "`none`: a right answer has the advantage lambda and a wrong one -1, as in the authors' code. `group`: TRL's "
        "advantage, times lambda where it is positive.",
        lambda x: x in ("none", "group"),
        '"none" or "group"',
        "none",
    )


class WReinforce(Method):
    """`A = lambda r - (1 - r)` for rewards of 0 and 1, or TRL's advantage with its positive part times lambda."""

    key = "w_reinforce"
    name = "W-REINFORCE"
    switch = "w_reinforce_positive"
    coefficient = "w_reinforce_positive"
    paper = Paper(
        "The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning", "2506.01347", "Xinyu Zhu and others"
    )
    summary = (
        "weighs right answers less than wrong ones",
        "entropy must rise; on the built-in task it loses pass@1 without gaining pass@k",
        "none",
    )
    published = {"w_reinforce_positive": 0.1, "w_reinforce_baseline": "none"}
    example = {"w_reinforce_positive": 0.1, "w_reinforce_baseline": "group"}
    Arguments = WReinforceArguments

    @classmethod
    def replaces(cls, args: Any) -> bool:
        return args.w_reinforce_baseline == "none"

    @classmethod
    def check(cls, args: Any) -> None:
        if args.w_reinforce_baseline == "none":
            unused_scale(cls, args)
        elif args.w_reinforce_positive == 1:
            raise ValueError('w_reinforce_positive=1 with w_reinforce_baseline="group" changes nothing. Lower it.')

    def group_advantages(self, group: Group) -> torch.Tensor:
        weight = self.args.w_reinforce_positive * self.gain
        if self.args.w_reinforce_baseline == "group":
            return torch.where(group.advantages > 0, weight * group.advantages, group.advantages)
        rewards = group.rewards[~group.rewards.isnan()]
        if not ((rewards == 0) | (rewards == 1)).all():
            raise ValueError(
                "w_reinforce_positive without a baseline needs rewards of 0 and 1, but one is "
                f'{rewards[(rewards != 0) & (rewards != 1)][0]:g}. Set w_reinforce_baseline="group" for others.'
            )
        return torch.where(group.rewards == 1, weight, -1.0)

    def direction(self) -> int:
        return -1
