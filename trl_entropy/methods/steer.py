"""STEER: tokens that would change entropy most weigh least (arXiv 2510.10150)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..functional.aggregate import masked_sum
from ..functional.precision import wide
from ..functional.selection import Scope
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, View, argument


@dataclass
class SteerArguments:
    steer_min: float | None = argument(
        None,
        "Weight of the token that would change entropy most.",
        lambda x: x is None or 0 < x < 1,
        "a number in (0, 1), or null",
        0.8,
    )
    steer_max: float = argument(
        1.2,
        "Weight of the token that would change entropy least; 1 with the exponential mapping.",
        lambda x: 1 <= x < math.inf,
        "a finite number >= 1",
        1.2,
    )
    steer_mapping: Literal["linear", "exponential"] = argument(
        "linear",
        "`linear`: from steer_max at the smallest change to steer_min at the largest. `exponential`: `exp(-k "
        "O)`, which "
        "is steer_min at the largest change O, or at 0.02 where all are smaller.",
        lambda x: x in ("linear", "exponential"),
        '"linear" or "exponential"',
        "linear",
    )


def entropy_influence(logps: torch.Tensor, entropy: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    r"""`O = |A (1 - p) (logp + H)|`: how much a step on one token changes entropy there (arXiv 2510.10150).

    At the generating policy, where the importance ratio is 1 and the authors' `A / p_old * p` is A.

    Args:
        logps, entropy: (B, T), nats.
        advantages: (B, T).

    >>> entropy_influence(torch.tensor([[0.5]]).log(), torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    tensor([[0.3069]])
    """
    return (advantages * (1 - logps.exp()) * (logps + entropy)).abs()


class Steer(Method):
    """Weights between `steer_max` and `steer_min` on the policy term, falling in O, over the whole batch."""

    key = "steer"
    name = "STEER"
    switch = "steer_min"
    paper = Paper(
        "Rethinking Entropy Interventions in RLVR: An Entropy Change Perspective",
        "2510.10150",
        "Zhezheng Hao and others",
    )
    summary = (
        "weighs tokens that would change entropy most a little less than the others",
        "a gentle hand on both collapse and explosion",
        "none while updates are off-policy but the entropies of one scoring pass; on-policy that pass",
    )
    metrics = (
        Metric("steer/weight", "factor", "mean weight of a token"),
        Metric("steer/max_influence", "nats", "largest O"),
    )
    published = {"steer_min": 0.8, "steer_max": 1.2, "steer_mapping": "linear"}
    authors_code = {"entropy_scope": "micro_batch"}
    example = {"steer_min": 0.5, "steer_max": 1.5}
    reads = frozenset({"logps", "entropy"})
    per_token = True
    Arguments = SteerArguments

    @classmethod
    def check(cls, args: Any) -> None:
        if args.steer_mapping == "exponential" and args.steer_max not in (1.0, 1.2):
            raise ValueError(
                f"steer_max={args.steer_max} has no effect with steer_mapping='exponential', which begins at 1."
            )

    def select(self, view: View, scope: Scope) -> dict[str, torch.Tensor]:
        influence = entropy_influence(view.logps, view.entropy, view.advantages)
        influence = torch.where(influence.isfinite(), influence, 0.0)
        low = scope.gather(influence.masked_fill(~view.mask, torch.inf).min()).min()
        high = scope.gather(influence.masked_fill(~view.mask, -torch.inf).max()).max()
        least, most = self.args.steer_min, self.args.steer_max
        if self.args.steer_mapping == "linear":
            span = (high - low).clamp(min=torch.finfo(influence.dtype).tiny)
            weight = torch.where(high > low, most - (influence - low) * (most - least) / span, (least + most) / 2)
            weight = weight.clamp(least, most)
        else:
            weight = (math.log(least) / high.clamp(min=0.02) * influence).exp().clamp(least, 1.0)
        return {"weight": torch.where(view.mask, weight, 0.0), "influence": influence}

    def selection_sums(self, view: View, chosen: Mapping[str, torch.Tensor]) -> tuple[Sums, Sums]:
        sums = {"weight": masked_sum(wide(chosen["weight"]), view.mask), "tokens": view.mask.sum()}
        return sums, {"influence": chosen["influence"].masked_fill(~view.mask, -torch.inf).max()}

    def close_selection(self, totals: Mapping[str, float]) -> dict[str, float]:
        some = totals["tokens"] > 0
        return {
            "steer/weight": ratio(totals["weight"], totals["tokens"]),
            "steer/max_influence": totals["influence"] if some else math.nan,
        }

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return micro.chosen[self.key]["weight"] * advantages
