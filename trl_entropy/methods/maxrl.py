"""MaxRL: the rarer a prompt's right answers, the more they count (arXiv 2602.02710)."""

from dataclasses import dataclass
from typing import Any

import torch

from ..functional.advantages import maxrl_advantages
from .base import Group, Method, Paper, argument, unused_scale


@dataclass
class MaxRLArguments:
    maxrl: bool = argument(False, "Advantages `(r - mean) / mean` of a prompt's rewards, 0 where none is right.")


class MaxRL(Method):
    """`A = (r - rbar) / rbar`: instead of TRL's division by the standard deviation, one by the mean."""

    key = "maxrl"
    name = "MaxRL"
    switch = "maxrl"
    paper = Paper(
        "Maximum Likelihood Reinforcement Learning",
        "2602.02710",
        "Fahim Tajwar and Guanning Zeng and Yueer Zhou and others",
    )
    summary = (
        "divides a prompt's advantages by its mean reward, so that rare right answers count most",
        "pass@k matters, and many prompts are rarely solved; rewards are 0 or 1",
        "none",
    )
    published = {"maxrl": True}
    example = {"maxrl": True}
    replaces_advantage = True
    Arguments = MaxRLArguments

    @classmethod
    def check(cls, args: Any) -> None:
        unused_scale(cls, args)

    def group_advantages(self, group: Group) -> torch.Tensor:
        if (group.rewards < 0).any():
            raise ValueError(
                f"maxrl divides by a prompt's mean reward, but a reward is "
                f"{group.rewards.nan_to_num(0.0).min():g}. Give "
                "rewards that are not negative (0 and 1 in the paper), or leave maxrl out."
            )
        return maxrl_advantages(group.rewards)
