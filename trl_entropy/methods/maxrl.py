"""MaxRL: the rarer a prompt's right answers, the more they count (arXiv 2602.02710)."""

from dataclasses import dataclass

import torch

from ..functional.advantages import maxrl_advantages
from ..metrics import Metric
from .base import Group, Paper, argument
from .mixing import Mixed, mix_argument, mix_end_argument, mix_hold_argument


@dataclass
class MaxRLArguments:
    maxrl: bool = argument(False, "Advantages `(r - mean) / mean` of a prompt's rewards, 0 where none is right.")
    maxrl_mix: float = mix_argument("MaxRL's")
    maxrl_mix_end: float | None = mix_end_argument()
    maxrl_mix_hold: float = mix_hold_argument()


class MaxRL(Mixed):
    """`w (r - rbar) / rbar + (1 - w) A`: instead of TRL's division by the standard deviation, one by the mean.

    The paper has `w = 1` throughout. Annealing `w` towards 0, late, is ours: variety first, then pass@1.
    """

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
    metrics = (Metric("maxrl/mix", "share", "weight of MaxRL's advantage"),)
    published = {"maxrl": True}
    example = {"maxrl": True}
    Arguments = MaxRLArguments

    def group_advantages(self, group: Group) -> torch.Tensor:
        if (group.rewards < 0).any():
            raise ValueError(
                f"maxrl divides by a prompt's mean reward, but a reward is "
                f"{group.rewards.nan_to_num(0.0).min():g}. Give "
                "rewards that are not negative (0 and 1 in the paper), or leave maxrl out."
            )
        return self.mixed(maxrl_advantages(group.rewards), group)
