"""The unlikeliness reward: probable right answers earn less (arXiv 2506.02355)."""

from dataclasses import dataclass

import torch

from ..functional.advantages import group_relative, unlikely_rewards
from .base import Group, Method, Paper, argument


@dataclass
class UnlikelinessArguments:
    unlikeliness_beta: float = argument(
        0.0,
        "beta of `r (1 - beta rank / N)`: the most probable of a prompt's N completions has rank N - 1, the least 0.",
        lambda x: 0 <= x <= 1,
        "a number in [0, 1]",
        0.25,
    )


class Unlikeliness(Method):
    """Rewards times `1 - beta rank / N` before TRL's normalisation, which is repeated on them."""

    key = "unlikeliness"
    name = "Unlikeliness reward"
    switch = "unlikeliness_beta"
    coefficient = "unlikeliness_beta"
    paper = Paper(
        "Rewarding the Unlikely: Lifting GRPO Beyond Distribution Sharpening", "2506.02355", "Andre He and others"
    )
    summary = (
        "pays a right answer less the more probable it was",
        "several right answers a prompt should stay alive",
        "none while updates are off-policy; on-policy one scoring pass a rollout",
    )
    published = {"unlikeliness_beta": 0.25}
    example = {"unlikeliness_beta": 0.25}
    replaces_advantage = True
    Arguments = UnlikelinessArguments

    def needs(self) -> frozenset[str]:
        return frozenset({"logps"})

    def group_advantages(self, group: Group) -> torch.Tensor:
        if (group.rewards < 0).any():
            raise ValueError(
                "unlikeliness_beta takes a share of a right answer's reward, but a reward is "
                f"{group.rewards.nan_to_num(0.0).min():g}, of which the probable would lose least. Give rewards that "
                "are not negative (0 and 1 in the paper), or leave unlikeliness_beta out."
            )
        beta = min(self.args.unlikeliness_beta * self.gain, 1.0)
        return group_relative(unlikely_rewards(group.rewards, group.mean_logps, beta), self.args.scale_rewards)

    def direction(self) -> int:
        return 1
