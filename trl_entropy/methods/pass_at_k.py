"""Pass@k training in its analytic form (arXiv 2508.10751)."""

from dataclasses import dataclass
from typing import Any

import torch

from ..functional.advantages import pass_at_k_advantages
from ..metrics import Metric
from .base import Group, Paper, argument
from .mixing import Mixed, mix_argument, mix_end_argument, mix_hold_argument


@dataclass
class PassAtKArguments:
    pass_at_k: int = argument(
        0,
        "k of the pass@k that a prompt's completions are rewarded for, from 1 to num_generations.",
        lambda x: x >= 0 and x == int(x),
        "a whole number >= 0",
        4,
    )
    pass_at_k_mix: float = mix_argument("the pass@k")
    pass_at_k_mix_end: float | None = mix_end_argument()
    pass_at_k_mix_hold: float = mix_hold_argument()


class PassAtK(Mixed):
    """`w A_pass@k + (1 - w) A`: the advantage of being in a group of k that solves the prompt, mixed with TRL's."""

    key = "pass_at_k"
    name = "Pass@k training"
    switch = "pass_at_k"
    paper = Paper(
        "Pass@k Training for Adaptively Balancing Exploration and Exploitation of Large Reasoning Models",
        "2508.10751",
        "Zhipeng Chen and others",
    )
    summary = (
        "rewards a completion for what it adds to the pass@k of its prompt's samples",
        "pass@k is what you use; mix it with the ordinary advantage to keep pass@1",
        "none",
    )
    metrics = (Metric("pass_at_k/mix", "share", "weight of the pass@k advantage"),)
    published = {"pass_at_k": 4}
    example = {"pass_at_k": 2, "pass_at_k_mix": 0.7, "pass_at_k_mix_end": 0.3}
    Arguments = PassAtKArguments

    @classmethod
    def check(cls, args: Any) -> None:
        if args.pass_at_k > args.num_generations:
            raise ValueError(
                f"pass_at_k={args.pass_at_k} is not allowed with num_generations={args.num_generations}: a group "
                "of k is "
                "drawn from a prompt's completions. Lower pass_at_k, or raise num_generations."
            )
        super().check(args)

    def group_advantages(self, group: Group) -> torch.Tensor:
        rewards = group.rewards[~group.rewards.isnan()]
        if not ((rewards == 0) | (rewards == 1)).all():
            raise ValueError(
                f"pass_at_k counts right answers, but a reward is "
                f"{rewards[(rewards != 0) & (rewards != 1)][0]:g}. Give "
                "one reward of 0 or 1 (math_reward, say), or leave pass_at_k out."
            )
        return self.mixed(pass_at_k_advantages(group.rewards, int(self.args.pass_at_k)), group)
