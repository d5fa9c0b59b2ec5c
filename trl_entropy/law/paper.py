"""The five curves of the paper, as read off its figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PaperCurve:
    """One model's `R = b - a * exp(H)`, R in percent, read off a figure to about 15 %.

    Args:
        a: Percent of score per unit of exp(H).
        b: Percent of score.
    """

    a: float
    b: float

    def reward(self, entropy: float) -> float:
        """The score in percent at an entropy in nats."""
        return self.b - self.a * math.exp(entropy)

    @property
    def ceiling(self) -> float:
        """The score at zero entropy."""
        return self.b - self.a


# arXiv 2505.22617, the Qwen2.5 family on mathematics: 236 steps, starting entropies of 0.5 to 1.4 nats.
PAPER_CURVES: Mapping[str, PaperCurve] = {
    "Qwen2.5-0.5B": PaperCurve(4.5, 19.3),
    "Qwen2.5-1.5B": PaperCurve(9.4, 34.7),
    "Qwen2.5-3B": PaperCurve(17.9, 48.4),
    "Qwen2.5-7B": PaperCurve(21.6, 60.3),
    "Qwen2.5-32B": PaperCurve(23.7, 69.1),
}
