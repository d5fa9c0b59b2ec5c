"""What Clip-Cov and KL-Cov have in common: tokens chosen by their covariance (arXiv 2505.22617)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..functional.aggregate import masked_sum
from ..functional.covariance import covariance_moments, token_covariance
from ..functional.precision import wide
from ..functional.selection import Scope
from ..metrics import Metric, ratio
from .base import Method, Paper, Sums, View, argument


PAPER = Paper(
    "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
    "2505.22617",
    "Ganqu Cui and Yuchen Zhang and Jiacheng Chen and Lifan Yuan and Zhi Wang and Yuxin Zuo and Haozhan Li and "
    "Yuchen Fan and Huayu Chen and Weize Chen and Zhiyuan Liu and Hao Peng and Lei Bai and Wanli Ouyang and Yu Cheng "
    "and Bowen Zhou and Ning Ding",
)
PUBLISHED: Mapping[str, Any] = {
    "cov_tokens": "informative",  # prompts whose rewards are all equal are dropped
    "loss_type": "dapo",
    "scale_rewards": "group",
    "beta": 0.0,
    "temperature": 1.0,
    "num_generations": 8,
    "learning_rate": 5e-7,
    "lr_scheduler_type": "constant",
    "weight_decay": 0.0,
    "max_completion_length": 8192,
    "generation_batch_size": 2048,
}
METRICS = (
    Metric("cov/mean", "nats", "mean of C_t = (logp_t - mean logp)(A_t - mean A): the covariance itself"),
    Metric("cov/max", "nats", "largest C_t"),
    Metric("cov/informative_share", "share", "tokens of prompts whose rewards are not all equal / tokens"),
    Metric("cov/selected_share", "share", "selected tokens / tokens"),
    Metric("cov/selected_mean", "nats", "mean of C_t over selected tokens"),
    Metric("cov/selected_negative_share", "share", "selected tokens with negative advantage / selected tokens"),
)


@dataclass
class CovarianceArguments:
    cov_tokens: Literal["all", "informative"] = argument(
        "all",
        "The tokens whose means and number Clip-Cov and KL-Cov go by. `informative`: without prompts whose rewards "
        "are all equal, which the authors drop before they count.",
        lambda x: x in ("all", "informative"),
        '"all" or "informative"',
        "informative",
    )


class CovarianceMethod(Method):
    """Chooses tokens by `C_t = (logp_t - mean logp)(A_t - mean A)`; a subclass says which, and what for."""

    paper = PAPER
    metrics = METRICS
    reads = frozenset({"logps"})
    answers = "which tokens of high covariance are held back"

    def choose(
        self, covariance: torch.Tensor, tokens: int, view: View, mask: torch.Tensor, scope: Scope
    ) -> torch.Tensor:
        """The chosen tokens, (B, T) bool.

        Args:
            covariance: (B, T), about the means of the scope.
            tokens: how many tokens count in scope.
            view: what the selection may look at.
            mask: (B, T) bool, the tokens that may be chosen.
            scope: where they are chosen from.
        """
        raise NotImplementedError(f"{type(self).__name__} must say which tokens it chooses")

    def select(self, view: View, scope: Scope) -> dict[str, torch.Tensor]:
        mask = view.informative if self.args.cov_tokens == "informative" else view.mask
        moments = scope.sum(covariance_moments(view.logps, view.advantages, mask))
        covariance = token_covariance(view.logps, view.advantages, mask, moments)
        selected = self.choose(covariance, int(moments[2]), view, mask, scope)
        return {"selected": selected, "covariance": covariance}

    def selection_sums(self, view: View, chosen: Mapping[str, torch.Tensor]) -> tuple[Sums, Sums]:
        covariance, selected, mask = chosen["covariance"], chosen["selected"], view.mask
        counted = view.informative if self.args.cov_tokens == "informative" else mask
        sums = {
            "covariance": masked_sum(wide(covariance), counted),
            "counted": counted.sum(),
            "tokens": mask.sum(),
            "informative": view.informative.sum(),
            "selected": selected.sum(),
            "selected_covariance": masked_sum(wide(covariance), selected),
            "selected_negative": (selected & (view.advantages < 0)).sum(),
        }
        return sums, {"max": covariance.masked_fill(~counted, -torch.inf).max()}

    def close_selection(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {
            "cov/mean": ratio(totals["covariance"], totals["counted"]),
            "cov/max": totals["max"] if totals["counted"] else float("nan"),
            "cov/informative_share": ratio(totals["informative"], totals["tokens"]),
            "cov/selected_share": ratio(totals["selected"], totals["tokens"]),
            "cov/selected_mean": ratio(totals["selected_covariance"], totals["selected"]),
            "cov/selected_negative_share": ratio(totals["selected_negative"], totals["selected"]),
        }

    def direction(self) -> int:
        """It takes weight from the tokens that lower entropy most."""
        return 1
