"""Entrocraft: outside of its entropy bounds, learn from one sign alone (arXiv 2604.26326)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..functional.aggregate import masked_sum
from ..functional.precision import wide
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, argument
from .control.target import LARGEST


def _nats(default: float | None, help: str, paper: float | None = None) -> Any:
    return argument(
        default, help, lambda x: x is None or 0 <= x < LARGEST, f"nats >= 0 and below {LARGEST}, or null", paper
    )


@dataclass
class EntrocraftArguments:
    entrocraft_upper: float | None = _nats(None, "Upper bound of mean token entropy at the start of training.", 0.7)
    entrocraft_lower: float | None = _nats(None, "Lower bound at the start of training.", 0.6)
    entrocraft_upper_end: float | None = _nats(None, "Upper bound at the end; unset, as at the start.", 0.5)
    entrocraft_lower_end: float | None = _nats(None, "Lower bound at the end; unset, as at the start.", 0.4)
    entrocraft_schedule: Literal["linear", "cosine"] = argument(
        "linear",
        "How the bounds go from start to end.",
        lambda x: x in ("linear", "cosine"),
        '"linear" or "cosine"',
    )


@dataclass
class EntrocraftState:
    """Mean token `entropy` of the last optimizer step, nats; None before the first."""

    entropy: float | None = None


class Entrocraft(Method):
    """Above the upper bound only positive advantages are kept, below the lower only negative ones.

    The entropy is the last optimizer step's; the authors take the rollout's own, one step younger.
    """

    key = "entrocraft"
    name = "Entrocraft"
    switch = "entrocraft_upper"
    paper = Paper(
        "Addressing Performance Saturation for LLM RL via Precise Entropy Curve Control",
        "2604.26326",
        "Bolian Li and Yifan Wang and Yi Ding and Anamika Lochab and Ananth Grama and Ruqi Zhang",
    )
    summary = (
        "rejects the advantages of one sign while entropy is outside of bounds that may move",
        "entropy must follow a course, on both sides; the hardest hand of all",
        "none",
    )
    metrics = (
        Metric("entrocraft/side", "sign", "1 above the bounds: positive kept; -1 below: negative kept; else 0"),
    )
    published = {
        "entrocraft_upper": 0.7,
        "entrocraft_lower": 0.6,
        "entrocraft_upper_end": 0.5,
        "entrocraft_lower_end": 0.4,
    }
    example = {"entrocraft_upper": 0.7, "entrocraft_lower": 0.1, "entrocraft_upper_end": 0.5}
    Arguments = EntrocraftArguments
    State = EntrocraftState
    state: EntrocraftState
    progress = 0.0

    @classmethod
    def check(cls, args: Any) -> None:
        if args.entrocraft_lower is None:
            raise ValueError("entrocraft_upper needs entrocraft_lower, in nats; 0 leaves that side open.")
        for end in ("", "_end"):
            upper, lower = (_bound(args, side, end) for side in ("upper", "lower"))
            if lower >= upper:
                raise ValueError(
                    f"entrocraft_lower{end}={lower} is not below entrocraft_upper{end}={upper}: the bounds are "
                    "crossed."
                )
        if args.entrocraft_schedule != "linear" and args.entrocraft_upper_end is args.entrocraft_lower_end is None:
            raise ValueError(
                "entrocraft_schedule was given, but no bound moves. Set entrocraft_upper_end, or leave it out."
            )

    def bounds(self) -> tuple[float, float]:
        """The lower and upper bound now, nats."""
        share = self.progress
        if self.args.entrocraft_schedule == "cosine":
            share = 0.5 * (1 - math.cos(math.pi * share))
        low, high = (
            _bound(self.args, side, "") * (1 - share) + _bound(self.args, side, "_end") * share
            for side in ("lower", "upper")
        )
        return low, high

    def side(self) -> int:
        """1 above the bounds, -1 below, 0 inside or before the first step."""
        if self.state.entropy is None:
            return 0
        low, high = self.bounds()
        return 1 if self.state.entropy > high else -1 if self.state.entropy < low else 0

    def group_advantages(self, group):
        self.progress = group.progress
        return group.advantages

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        side = self.side()
        return advantages if not side else torch.where(side * advantages > 0, advantages, 0.0)

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        return {"entropy": masked_sum(wide(micro.entropy), micro.mask), "tokens": micro.mask.sum()}, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        side, entropy = self.side(), ratio(totals["entropy"], totals["tokens"])
        if math.isfinite(entropy):
            self.state.entropy = entropy
        return {"entrocraft/side": side}


def _bound(args: Any, side: str, end: str) -> float:
    start, stop = getattr(args, f"entrocraft_{side}"), getattr(args, f"entrocraft_{side}_end")
    return stop if end and stop is not None else start
