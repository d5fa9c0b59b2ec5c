"""REPO: advantages that hold entropy, token by token (arXiv 2603.11682)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..functional.aggregate import masked_sum
from ..functional.precision import wide
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, argument


@dataclass
class RepoArguments:
    repo_zeta: float = argument(
        0.0,
        "zeta of `A - zeta |A| logp`: improbable tokens gain advantage. A controller (doubling) moves it in the "
        "paper.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
    )


PAPER = Paper(
    "Entropy-Preserving Reinforcement Learning",
    "2603.11682",
    "Aleksei Petrenko and Ben Lipkin and Kevin Chen and Erik Wijmans and Marco Cusumano-Towner and Raja Giryes and "
    r"Philipp Kr{\"a}henb{\"u}hl",
)


class Repo(Method):
    """Each token's advantage becomes `A - zeta |A| logp`, log-probabilities without gradient."""

    key = "repo"
    name = "REPO"
    switch = "repo_zeta"
    coefficient = "repo_zeta"
    paper = PAPER
    summary = (
        "adds to the advantage of improbable tokens in proportion to their surprisal",
        "entropy should be held with a controller on `repo_zeta`; works on-policy",
        "none",
    )
    metrics = (Metric("repo/bonus", "advantage", "mean of -zeta |A| logp over tokens"),)
    published = {"scale_rewards": "group"}
    example = {"repo_zeta": 0.2}
    per_token = True
    Arguments = RepoArguments

    def _bonus(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return -self.args.repo_zeta * self.gain * advantages.abs() * micro.logps.detach()

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return advantages + torch.where(micro.mask, self._bonus(advantages, micro), 0.0)

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        bonus = self._bonus(micro.advantages, micro)
        return {"bonus": masked_sum(wide(bonus), micro.mask), "tokens": micro.mask.sum()}, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {"repo/bonus": ratio(totals["bonus"], totals["tokens"])}

    def direction(self) -> int:
        return 1
