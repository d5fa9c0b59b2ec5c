"""Random clip: the control that every token-selecting method must beat."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..functional.precision import wide
from ..functional.selection import Scope, selection_count, take_at_random
from ..metrics import Metric, ratio
from .base import Method, Micro, Sums, View, argument


@dataclass
class RandomClipArguments:
    random_clip_ratio: float = argument(
        0.0,
        "Share of all tokens, drawn from those of positive advantage, whose policy gradient is set to zero: as "
        "many as "
        "Clip-Cov takes.",
        lambda x: 0 <= x < 1,
        "a fraction in [0, 1)",
        2e-4,
    )


class RandomClip(Method):
    """`max(1, floor(ratio N))` tokens at random among those of positive advantage lose their policy gradient."""

    key = "random_clip"
    name = "Random clip"
    switch = "random_clip_ratio"
    summary = (
        "removes the policy gradient of random tokens of positive advantage",
        "as a control: what Clip-Cov does beyond this is what its selection is worth",
        "none",
    )
    metrics = (Metric("random_clip/selected_share", "share", "selected tokens / tokens"),)
    published = {"random_clip_ratio": 2e-4}
    example = {"random_clip_ratio": 0.2}
    per_token = True
    answers = "which tokens lose their gradient"
    Arguments = RandomClipArguments

    def select(self, view: View, scope: Scope) -> dict[str, torch.Tensor]:
        tokens = int(scope.sum(wide(view.mask.sum())))
        candidates = view.mask & (view.advantages > 0)
        return {"selected": take_at_random(candidates, selection_count(self.args.random_clip_ratio, tokens), scope)}

    def selection_sums(self, view: View, chosen: Mapping[str, torch.Tensor]) -> tuple[Sums, Sums]:
        return {"selected": chosen["selected"].sum(), "tokens": view.mask.sum()}, {}

    def close_selection(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {"random_clip/selected_share": ratio(totals["selected"], totals["tokens"])}

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return torch.where(micro.chosen[self.key]["selected"], 0.0, advantages)

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        return {"clipped": micro.chosen[self.key]["selected"]}

    def direction(self) -> int:
        return 1
