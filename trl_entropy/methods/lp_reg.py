"""Lp-Reg: improbable tokens worth keeping are held up (arXiv 2510.03222)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..functional.head.sets import MinP
from ..functional.selection import Scope, selection_count, take_largest
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, View, argument


@dataclass
class LpRegArguments:
    lp_reg_coef: float = argument(
        0.0,
        "Coefficient of the divergence from the filtered policy, on the chosen tokens.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
        1.0,
    )
    lp_reg_share: float = argument(
        0.01,
        "Share of the tokens of negative advantage that are looked at: those of lowest log-probability.",
        lambda x: 0 < x <= 1,
        "a fraction in (0, 1]",
        0.01,
    )
    lp_reg_kappa: float = argument(
        0.02,
        "A word is noise, and not held up, where its probability is below kappa times the largest (min-p).",
        lambda x: 0 < x <= 1,
        "a number in (0, 1]",
        0.02,
    )


def low_variance_divergence(logps: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    r"""`exp(d) - d - 1` with `d = target - logp`, at most 10; 0 where they agree (arXiv 2510.03222, its code).

    Args:
        logps, target: (B, T), nats; the gradient on `logps` is `1 - exp(d)`.

    >>> low_variance_divergence(torch.tensor([-2.0]), torch.tensor([-2.0]))
    tensor([0.])
    """
    gap = (target.detach() - logps).clamp(-20.0, 20.0)
    return (torch.exp(gap) - gap - 1).clamp(max=10.0)


class LpReg(Method):
    """Tokens of negative advantage and lowest probability are pulled to what they weigh without the noise.

    The generating policy without the words below `kappa` times its largest probability, renormalised, gives a token of
    its set S the log-probability `logp - log P(S)`. Where the policy's is lower by d, the loss gains
    `coef (exp(d) - d - 1)`. A token outside of S is noise and left alone.
    """

    key = "lp_reg"
    name = "Lp-Reg"
    switch = "lp_reg_coef"
    coefficient = "lp_reg_coef"
    paper = Paper(
        "Low-probability Tokens Sustain Exploration in Reinforcement Learning with Verifiable Reward",
        "2510.03222",
        "Guanhua Huang and Tingqiang Xu and Mingze Wang and Qi Yi and Xue Gong and Siheng Li and others",
    )
    summary = (
        "holds up improbable tokens that are not noise where they would be pushed down",
        "rare reasoning words die out; works on-policy",
        "one set of words in the head; on-policy one scoring pass a rollout",
    )
    metrics = (
        Metric("lp_reg/selected_share", "share", "tokens looked at / tokens"),
        Metric("lp_reg/held_share", "share", "those of them that are pulled up / tokens"),
    )
    published = {
        "lp_reg_coef": 1.0,
        "lp_reg_share": 0.01,
        "lp_reg_kappa": 0.02,
        "epsilon": 1.0,
        "epsilon_high": 9.0,
    }
    authors_code = {"entropy_scope": "micro_batch"}
    example = {"lp_reg_coef": 1.0, "lp_reg_share": 0.9, "lp_reg_kappa": 0.02}
    reads = frozenset({"logps", "head"})
    Arguments = LpRegArguments

    def head(self) -> Mapping[str, Any]:
        return {"min_p": MinP(self.args.lp_reg_kappa), "top_two": True}

    def select(self, view: View, scope: Scope) -> dict[str, torch.Tensor]:
        candidates = view.mask & (view.advantages < 0)
        tokens = int(scope.sum(candidates.sum()))
        count = selection_count(self.args.lp_reg_share, tokens)
        selected = take_largest(-view.logps, candidates, count, scope)
        floor = math.log(self.args.lp_reg_kappa) + view.scored["top_probability"].log()
        # a word on the floor itself belongs to S, whatever the last bit says
        inside = view.logps >= floor - 1e-6
        return {
            "selected": selected & inside,
            "target": view.logps - view.scored["min_p_log_mass"],
            "looked_at": selected,
        }

    def selection_sums(self, view: View, chosen: Mapping[str, torch.Tensor]) -> tuple[Sums, Sums]:
        return {"looked_at": chosen["looked_at"].sum(), "tokens": view.mask.sum()}, {}

    def close_selection(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {"lp_reg/selected_share": ratio(totals["looked_at"], totals["tokens"])}

    def _held(self, micro: Micro) -> torch.Tensor:
        chosen = micro.chosen[self.key]
        return chosen["selected"] & (micro.logps.detach() < chosen["target"])

    def loss(self, micro: Micro) -> torch.Tensor:
        # chosen before the product, so that what stands on other tokens, NaN or not, has no gradient
        held = self._held(micro)
        logps = torch.where(held, micro.logps, 0.0)
        target = torch.where(held, micro.chosen[self.key]["target"], 0.0)
        return self.args.lp_reg_coef * self.gain * low_variance_divergence(logps, target)

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        return {"held": self._held(micro).sum(), "tokens": micro.mask.sum()}, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {"lp_reg/held_share": ratio(totals["held"], totals["tokens"])}

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        return {"held": self._held(micro)}

    def direction(self) -> int:
        return 1
