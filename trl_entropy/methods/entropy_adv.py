"""Entropy-Adv: uncertain tokens gain advantage (arXiv 2506.14758)."""

import math
from dataclasses import dataclass

import torch

from ..functional.aggregate import masked_sum
from ..functional.precision import wide
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, argument


@dataclass
class EntropyAdvArguments:
    entropy_adv_alpha: float = argument(
        0.0,
        "alpha of `A + min(alpha H, |A| / kappa)`, where H is a token's entropy in nats, without gradient.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
        0.4,
    )
    entropy_adv_kappa: float = argument(
        2.0,
        "kappa: a token gains at most its advantage's size divided by it. Above 1, so that no sign turns.",
        lambda x: 1 < x < math.inf,
        "a finite number > 1",
        2.0,
    )


def entropy_bonus(advantages: torch.Tensor, entropy: torch.Tensor, alpha: float, kappa: float) -> torch.Tensor:
    r"""`min(alpha H, |A| / kappa)`, never negative (arXiv 2506.14758, advantage shaping).

    Args:
        advantages: (B, T).
        entropy: (B, T), nats; no gradient flows through it.
        alpha: nats to advantage.
        kappa: above 1; bounds the bonus.

    Returns:
        (B, T), 0 where the advantage is 0.

    >>> entropy_bonus(torch.tensor([[1.0, -1.0, 0.0]]), torch.tensor([[0.5, 9.0, 9.0]]), alpha=0.4, kappa=2.0)
    tensor([[0.2000, 0.5000, 0.0000]])
    """
    return torch.minimum(alpha * entropy.detach(), advantages.abs() / kappa)


class EntropyAdv(Method):
    """Each token's advantage becomes `A + min(alpha H, |A| / kappa)`."""

    key = "entropy_adv"
    name = "Entropy-Adv"
    switch = "entropy_adv_alpha"
    coefficient = "entropy_adv_alpha"
    paper = Paper("Reasoning with Exploration: An Entropy Perspective", "2506.14758", "Daixuan Cheng and others")
    summary = (
        "adds to the advantage of uncertain tokens, at most half of it",
        "answers should grow longer and more exploratory; works on-policy",
        "none",
    )
    metrics = (Metric("entropy_adv/bonus", "advantage", "mean bonus over tokens"),)
    published = {"entropy_adv_alpha": 0.4, "entropy_adv_kappa": 2.0}
    example = {"entropy_adv_alpha": 0.4}
    per_token = True
    Arguments = EntropyAdvArguments

    def _bonus(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        alpha = self.args.entropy_adv_alpha * self.gain
        return entropy_bonus(advantages, micro.entropy, alpha, self.args.entropy_adv_kappa)

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return advantages + self._bonus(advantages, micro)

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        bonus = self._bonus(micro.advantages, micro)
        return {"bonus": masked_sum(wide(bonus), micro.mask), "tokens": micro.mask.sum()}, {}

    def close(self, totals):
        return {"entropy_adv/bonus": ratio(totals["bonus"], totals["tokens"])}

    def direction(self) -> int:
        return 1
