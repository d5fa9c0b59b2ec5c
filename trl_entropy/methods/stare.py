"""STARE: surprising tokens of right answers weigh more while entropy is low (arXiv 2606.19236)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..functional.aggregate import masked_sum
from ..functional.precision import wide
from ..functional.selection import Scope, take_largest
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, View, argument
from .control.target import LARGEST


@dataclass
class StareArguments:
    stare_target: float | None = argument(
        None,
        "Acts only while the rollout's mean token entropy is below this, nats.",
        lambda x: x is None or 0 < x < LARGEST,
        f"nats > 0 and below {LARGEST}, or null",
        0.3,
    )
    stare_share: float = argument(
        0.1,
        "Share of the tokens of positive (and of negative) advantage that are weighed: those of largest surprisal.",
        lambda x: 0 < x <= 1,
        "a fraction in (0, 1]",
        0.1,
    )
    stare_positive: float = argument(
        1.1,
        "Their weight where the advantage is positive (the paper takes 1.05 at 14B).",
        lambda x: 1 <= x < math.inf,
        "a finite number >= 1",
        1.1,
    )
    stare_negative: float = argument(
        1.0,
        "Their weight where it is negative; 0.9 in the paper's two-sided variant.",
        lambda x: 0 <= x <= 1,
        "a number in [0, 1]",
        1.0,
    )


class Stare(Method):
    """The `ceil(share n)` tokens of largest `-logp`, of each sign by itself, are weighed while `H < stare_target`."""

    key = "stare"
    name = "STARE"
    switch = "stare_target"
    paper = Paper(
        "STARE: Surprisal-Guided Token-Level Advantage Reweighting for Policy Entropy Stability",
        "2606.19236",
        "Haipeng Luo and Qingfeng Sun and Songli Wu and Can Xu and Wenfeng Deng and Han Hu and Yansong Tang",
    )
    summary = (
        "weighs surprising tokens of right answers more while entropy is below a target",
        "entropy should not fall below a number of nats",
        "none while updates are off-policy but the entropies of one scoring pass; on-policy that pass",
    )
    metrics = (
        Metric("stare/acting", "share", "1 while the rollout's entropy is below stare_target, else 0"),
        Metric("stare/selected_share", "share", "weighed tokens / tokens"),
    )
    published = {"stare_target": 0.3, "stare_share": 0.1, "stare_positive": 1.1}
    authors_code = {"entropy_scope": "micro_batch"}
    example = {"stare_target": 9.0, "stare_share": 0.3, "stare_positive": 1.5, "stare_negative": 0.5}
    reads = frozenset({"logps", "entropy"})
    per_token = True
    Arguments = StareArguments

    @classmethod
    def check(cls, args: Any) -> None:
        if args.stare_positive == args.stare_negative == 1:
            raise ValueError(
                "stare_positive=1 and stare_negative=1 leave every token as it is: give one of them a weight."
            )

    def select(self, view: View, scope: Scope) -> dict[str, torch.Tensor]:
        sums = torch.stack([masked_sum(wide(view.entropy), view.mask), wide(view.mask.sum())])
        entropy, tokens = scope.sum(sums).tolist()
        weight = torch.ones_like(view.logps)
        selected = torch.zeros_like(view.mask)
        if tokens and entropy / tokens < self.args.stare_target:
            for sign, factor in ((1, self.args.stare_positive), (-1, self.args.stare_negative)):
                candidates = view.mask & (sign * view.advantages > 0)
                count = math.ceil(self.args.stare_share * int(scope.sum(candidates.sum())) - 1e-6)
                chosen = take_largest(-view.logps, candidates, count, scope)
                weight = torch.where(chosen, factor, weight)
                selected |= chosen & (factor != 1)
        return {"weight": weight, "selected": selected}

    def selection_sums(self, view: View, chosen: Mapping[str, torch.Tensor]) -> tuple[Sums, Sums]:
        selected, tokens = chosen["selected"].sum(), view.mask.sum()
        return {"selected": selected, "tokens": tokens}, {"acting": (selected > 0).float()}

    def close_selection(self, totals: Mapping[str, float]) -> dict[str, float]:
        share = ratio(totals["selected"], totals["tokens"])
        return {"stare/acting": totals["acting"], "stare/selected_share": share}

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return micro.chosen[self.key]["weight"] * advantages

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        return {"weighed": micro.chosen[self.key]["selected"]}
