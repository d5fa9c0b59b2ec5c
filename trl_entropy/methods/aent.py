"""AEnt: an entropy bonus without the improbable part of the vocabulary (arXiv 2509.03493)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..functional.aggregate import masked_sum
from ..functional.head.sets import DropShare
from ..functional.precision import wide
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, argument


@dataclass
class AEntArguments:
    aent_coef: float = argument(
        0.0,
        "Coefficient of the bonus `-coef H`, H the entropy of the words that are kept, renormalised. A "
        "controller keeps "
        "it in bounds in the paper.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
        2e-4,
    )
    aent_share: float = argument(
        0.3,
        "Share of the vocabulary, its least probable words, that is left out.",
        lambda x: 0 <= x < 1,
        "a fraction in [0, 1)",
        0.3,
    )


class AEnt(Method):
    """`-coef H_S` a token, S the vocabulary without its `floor(share V)` least probable words.

    It is normalised as the policy loss is.
    """

    key = "aent"
    name = "AEnt"
    switch = "aent_coef"
    coefficient = "aent_coef"
    paper = Paper("On Entropy Control in LLM-RL Algorithms", "2509.03493", "Han Shen")
    summary = (
        "rewards entropy everywhere, but not of the words that nobody wants",
        "a bonus is wanted, and the plain one feeds the tail of the vocabulary; set a controller",
        "one set of words in the head",
    )
    metrics = (Metric("aent/entropy", "nats", "mean entropy of the kept words over tokens"),)
    published = {"aent_coef": 2e-4, "aent_share": 0.3}
    example = {"aent_coef": 0.05, "aent_share": 0.3}
    Arguments = AEntArguments

    def head(self) -> Mapping[str, Any]:
        return {"kept": DropShare(self.args.aent_share)}

    def loss(self, micro: Micro) -> torch.Tensor:
        return -self.args.aent_coef * self.gain * micro.head["kept_entropy"]

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        return {"entropy": masked_sum(wide(micro.head["kept_entropy"]), micro.mask), "tokens": micro.mask.sum()}, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {"aent/entropy": ratio(totals["entropy"], totals["tokens"])}

    def direction(self) -> int:
        return 1
