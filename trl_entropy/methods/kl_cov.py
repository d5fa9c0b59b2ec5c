"""KL-Cov: the tokens of largest covariance pay for moving (arXiv 2505.22617)."""

import math
import warnings
from dataclasses import dataclass, fields
from typing import Any

import torch
from trl import GRPOConfig

from ..functional.clipping import CLIPPED_LOSSES
from ..functional.penalties import kl_cov_penalty
from ..functional.selection import Scope, selection_count, take_largest
from .base import Micro, View, argument
from .token_covariance import PUBLISHED, CovarianceArguments, CovarianceMethod


@dataclass
class KLCovArguments(CovarianceArguments):
    kl_cov_ratio: float = argument(
        0.0,
        "Share of all tokens, those of largest covariance, that pay a penalty for moving. A fraction: the paper uses "
        "2e-3 (7B) and 2e-4 (32B).",
        lambda x: 0 <= x < 1,
        "a fraction in [0, 1)",
        2e-3,
    )
    kl_cov_coef: float = argument(
        1.0,
        "Coefficient of `|logp - old_logp|` on those tokens.",
        lambda x: 0 < x < math.inf,
        "a finite number > 0",
        1.0,
    )
    kl_cov_clip: bool = argument(False, "Keep PPO's clip together with KL-Cov, which opens it, as the paper does.")


class KLCov(CovarianceMethod):
    """The `floor(k N)` tokens of largest `C_t` have `coef |logp_t - old_logp_t|` added to their loss.

    It is 0 on the first optimizer step after a generation: the policy has not moved, and what the difference holds is
    rounding.
    """

    key = "kl_cov"
    name = "KL-Cov"
    switch = "kl_cov_ratio"
    coefficient = "kl_cov_coef"
    summary = (
        "the tokens of largest covariance pay for moving",
        "several optimizer steps a rollout; a steadier effect than Clip-Cov",
        "none",
    )
    published = {**PUBLISHED, "kl_cov_ratio": 2e-3, "kl_cov_coef": 1.0}
    authors_code = {"entropy_scope": "micro_batch"}
    example = {"kl_cov_ratio": 0.2, "kl_cov_coef": 0.8}
    Arguments = KLCovArguments

    @classmethod
    def check(cls, args: Any) -> None:
        if args.strictly_on_policy:
            raise ValueError(
                f"kl_cov_ratio={args.kl_cov_ratio} has no effect while updates are strictly on-policy: the policy has "
                f"not moved, so |logp - old_logp| is 0. Set steps_per_generation (now {args.steps_per_generation}) to "
                f"more than gradient_accumulation_steps (now {args.gradient_accumulation_steps}) - where "
                "generation_batch_size is set, raise that instead - or num_iterations (now "
                f"{args.num_iterations}) to 2 or more."
            )
        clips = args.loss_type in CLIPPED_LOSSES or args.loss_type == "cispo"
        if args.kl_cov_clip:
            if not clips:
                raise ValueError(
                    f"kl_cov_clip=True was given but loss_type={args.loss_type!r} has no PPO clip to keep. Leave "
                    "kl_cov_clip out, or choose another loss_type."
                )
        elif clips:
            _check_opened(args)

    def choose(
        self, covariance: torch.Tensor, tokens: int, view: View, mask: torch.Tensor, scope: Scope
    ) -> torch.Tensor:
        return take_largest(covariance, mask, selection_count(self.args.kl_cov_ratio, tokens), scope)

    def clip(self, low: float, high: float) -> tuple[float, float]:
        return (low, high) if self.args.kl_cov_clip else (math.inf, math.inf)

    def loss(self, micro: Micro) -> torch.Tensor | None:
        if not micro.moved:
            return None
        selected = micro.chosen[self.key]["selected"]
        return kl_cov_penalty(micro.logps, micro.old_logps, selected, self.args.kl_cov_coef * self.gain)

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        chosen = micro.chosen[self.key]
        marks = {"covariance": chosen["covariance"]}
        return {**marks, "penalised": chosen["selected"]} if micro.moved else marks


def _check_opened(args: Any) -> None:
    """What PPO's open clip leaves without effect."""
    if args.delta is not None:
        raise ValueError(
            f"delta={args.delta} was given with KL-Cov, which opens PPO's clip: delta would then bound tokens of "
            "positive advantage and leave the others alone. Set kl_cov_clip=True to keep the clip, or leave delta out."
        )
    default = {f.name: f.default for f in fields(GRPOConfig)}
    for name in ("epsilon", "epsilon_high"):
        if getattr(args, name) != default[name]:
            warnings.warn(
                f"{name}={getattr(args, name)} has no effect: KL-Cov opens PPO's clip, as its paper does. Set "
                f"kl_cov_clip=True to keep the clip, or leave {name} out."
            )
