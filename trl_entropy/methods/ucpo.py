"""UCPO: a prompt's positive advantage goes to its rare right answers (arXiv 2605.00365)."""

from dataclasses import dataclass

import torch

from ..functional.advantages import spread_advantages
from .base import Group, Method, Paper, argument


@dataclass
class UCPOArguments:
    ucpo_tau: float = argument(
        0.0,
        "tau: share of a prompt's positive advantage that is handed out by 1/q, q the probability of a right answer "
        "among the right ones (by its mean log-probability).",
        lambda x: 0 <= x <= 1,
        "a number in [0, 1]",
        0.2,
    )


class UCPO(Method):
    """The positive advantage of a prompt, spread by `(1 - tau) / n + tau (1/q) / sum(1/q)`; its sum stays."""

    key = "ucpo"
    name = "UCPO"
    switch = "ucpo_tau"
    coefficient = "ucpo_tau"
    paper = Paper(
        "Uniform-Correct Policy Optimization: Breaking RLVR's Indifference to Diversity",
        "2605.00365",
        "Anamika Lochab and Bolian Li and Ruqi Zhang",
    )
    summary = (
        "hands a prompt's positive advantage from its probable to its rare right answers",
        "several right answers a prompt should stay alive; combines with any prompt-level advantage",
        "none while updates are off-policy; on-policy one scoring pass a rollout",
    )
    published = {"ucpo_tau": 0.2}
    example = {"ucpo_tau": 0.5}
    Arguments = UCPOArguments

    def needs(self) -> frozenset[str]:
        return frozenset({"logps"})

    def group_advantages(self, group: Group) -> torch.Tensor:
        return spread_advantages(group.advantages, group.mean_logps, min(self.args.ucpo_tau * self.gain, 1.0))

    def direction(self) -> int:
        return 1
