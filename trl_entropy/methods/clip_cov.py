"""Clip-Cov: no policy gradient for a few tokens of high covariance (arXiv 2505.22617)."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch

from ..functional.covariance import clip_cov_candidates
from ..functional.selection import Scope, selection_count, take_at_random
from .base import Micro, View, argument
from .token_covariance import PUBLISHED, CovarianceArguments, CovarianceMethod


@dataclass
class ClipCovArguments(CovarianceArguments):
    clip_cov_ratio: float = argument(
        0.0,
        "Share of all tokens, drawn from the covariance band, whose policy gradient is set to zero. The paper takes "
        "it with `epsilon=1.0`.",
        lambda x: 0 <= x < 1,
        "a fraction in [0, 1)",
        2e-4,
    )
    clip_cov_low: float = argument(
        1.0,
        "Lower end of the covariance band. Tuned for advantages divided by the group's standard deviation.",
        math.isfinite,
        "a finite number",
        1.0,
    )
    clip_cov_high: float = argument(
        5.0, "Upper end of the covariance band.", lambda x: x > -math.inf, "a number above clip_cov_low", 5.0
    )


class ClipCov(CovarianceMethod):
    """`floor(r N)` tokens, at random among those with `low < C_t < high`, lose their policy gradient."""

    key = "clip_cov"
    name = "Clip-Cov"
    switch = "clip_cov_ratio"
    summary = (
        "removes the policy gradient of a few tokens of high covariance",
        "nothing may be added to the loss; advantages are divided by the group's std",
        "none while updates are off-policy; on-policy one scoring pass a rollout",
    )
    published = {**PUBLISHED, "clip_cov_ratio": 2e-4, "clip_cov_low": 1.0, "clip_cov_high": 5.0, "epsilon": 1.0}
    authors_code = {"entropy_scope": "micro_batch"}
    example = {"clip_cov_ratio": 0.2, "clip_cov_low": 0.05, "clip_cov_high": 3.0}
    per_token = True
    Arguments = ClipCovArguments

    @classmethod
    def check(cls, args: Any) -> None:
        if args.clip_cov_high <= args.clip_cov_low:
            raise ValueError(
                f"clip_cov_high={args.clip_cov_high} is not allowed; give a number above clip_cov_low, which is "
                f"{args.clip_cov_low}."
            )
        if args.scale_rewards == "none" and args.clip_cov_low >= 1:
            warnings.warn(
                f"clip_cov_low={args.clip_cov_low} was tuned for advantages divided by the group's standard "
                "deviation; with scale_rewards='none' hardly a token reaches it. Lower clip_cov_low (0.1 to 0.5), or "
                "set scale_rewards='group'. Watch cov/max and cov/selected_share."
            )

    def choose(
        self, covariance: torch.Tensor, tokens: int, view: View, mask: torch.Tensor, scope: Scope
    ) -> torch.Tensor:
        if view.clipped is not None:
            mask = mask & ~view.clipped
        candidates = clip_cov_candidates(covariance, mask, self.args.clip_cov_low, self.args.clip_cov_high)
        return take_at_random(candidates, selection_count(self.args.clip_cov_ratio, tokens), scope)

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        return torch.where(micro.chosen[self.key]["selected"], 0.0, advantages)

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        chosen = micro.chosen[self.key]
        return {"clipped": chosen["selected"], "covariance": chosen["covariance"]}
