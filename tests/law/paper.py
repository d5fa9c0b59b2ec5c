"""The five curves of the paper, as read off its figure to about 15 %."""

import math
from typing import NamedTuple


class PaperCurve(NamedTuple):
    """One model's `R = b - a * exp(H)`, R in percent."""

    a: float
    b: float

    def reward(self, entropy):
        return self.b - self.a * math.exp(entropy)

    @property
    def ceiling(self):
        return self.b - self.a


# arXiv 2505.22617, the Qwen2.5 family on mathematics: 236 steps, starting entropies of 0.5 to 1.4 nats.
PAPER_CURVES = {
    "Qwen2.5-0.5B": PaperCurve(4.5, 19.3),
    "Qwen2.5-1.5B": PaperCurve(9.4, 34.7),
    "Qwen2.5-3B": PaperCurve(17.9, 48.4),
    "Qwen2.5-7B": PaperCurve(21.6, 60.3),
    "Qwen2.5-32B": PaperCurve(23.7, 69.1),
}
