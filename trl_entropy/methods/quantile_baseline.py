"""The quantile as a prompt's baseline (arXiv 2509.22611)."""

from dataclasses import dataclass

import torch

from ..functional.advantages import group_relative, lower_quantile
from .base import Group, Method, Paper, argument


@dataclass
class QuantileBaselineArguments:
    quantile_baseline: float | None = argument(
        None,
        "K: a prompt's baseline is the K-quantile of its rewards instead of their mean.",
        lambda x: x is None or 0 < x < 1,
        "a number in (0, 1), or null",
        0.4,
    )


class QuantileBaseline(Method):
    """`A = (r - Q_K(r)) / std`: on rewards of 0 and 1 only the rarer of right and wrong answers have a gradient.

    Q is the smallest reward with at least a share K of the prompt's rewards at or below it: of rewards of 0 and 1 it
    is 0 while at least K of them are wrong, else 1.
    """

    key = "quantile_baseline"
    name = "Quantile baseline"
    switch = "quantile_baseline"
    paper = Paper(
        "Quantile Advantage Estimation: Stabilizing RLVR for LLM Reasoning", "2509.22611", "Junkang Wu and others"
    )
    summary = (
        "compares a prompt's rewards with their quantile instead of their mean",
        "entropy explodes or collapses by turns; about half of the answers get no gradient",
        "none",
    )
    published = {"quantile_baseline": 0.4}
    example = {"quantile_baseline": 0.4}
    replaces_advantage = True
    Arguments = QuantileBaselineArguments

    def group_advantages(self, group: Group) -> torch.Tensor:
        baseline = lower_quantile(group.rewards, self.args.quantile_baseline)
        return group_relative(group.rewards, self.args.scale_rewards, baseline)
