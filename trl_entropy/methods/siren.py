"""SIREN: hold the nucleus entropy of peak tokens at the initial policy's (arXiv 2509.25133)."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..functional.aggregate import masked_mean, masked_sum, sequence_means
from ..functional.peaks import peak_entropy_mask
from ..functional.penalties import anchored_penalty
from ..functional.precision import wide
from ..functional.selection import Scope
from ..metrics import Metric, ratio
from .base import Method, Micro, Paper, Sums, View, argument


logger = logging.getLogger(__name__)

# Of the share of sequences that counted, what a step keeps: one step alone would be noise in the penalty's weight
SHARE_MEMORY = 0.9


@dataclass
class SirenArguments:
    siren_coef: float = argument(
        0.0,
        "beta of `beta * (H - anchor)^2`, where H is the nucleus entropy of the peak-entropy tokens. A small model "
        "with few updates needs 0.3 to 1.",
        lambda x: 0 <= x < math.inf,
        "a finite number >= 0",
        0.005,
    )
    siren_top_p: float = argument(
        0.8, "Mass p of the nucleus in which entropy is measured.", lambda x: 0 < x <= 1, "a number in (0, 1]", 0.8
    )
    siren_quantile: float = argument(
        0.8,
        "tau: the tokens of a completion above its own tau-quantile of nucleus entropy are regularized. 0 regularizes "
        "every token.",
        lambda x: 0 <= x < 1,
        "a number in [0, 1)",
        0.8,
    )
    siren_nucleus: Literal["inclusive", "exclusive"] = argument(
        "inclusive",
        "`inclusive`: the word that crosses p belongs to the nucleus. `exclusive`: it is dropped, as in the authors' "
        "code, where a fork between two words that hold p together gets no gradient.",
        lambda x: x in ("inclusive", "exclusive"),
        '"inclusive" or "exclusive"',
    )
    siren_anchor: float | None = argument(
        None,
        "Entropy to hold, in nats. Unset, it is measured over the first rollout, from the policy that generated it.",
        lambda x: x is None or 0 <= x < math.inf,
        "nats >= 0, or null to measure it",
    )
    siren_penalty: Literal["two_sided", "lower"] = argument(
        "two_sided",
        "`two_sided` also pulls entropy down to the anchor; `lower` acts only below it.",
        lambda x: x in ("two_sided", "lower"),
        '"two_sided" or "lower"',
        "two_sided",
    )


@dataclass
class SirenState:
    """`anchor` and `entropy`, of the last optimizer step, in nats, None until measured; `measured_under`: the settings
    on which they depend; `counted_share`: share of a step's sequences that have a regularized token, over steps."""

    anchor: float | None = None
    entropy: float | None = None
    measured_under: dict[str, Any] | None = None
    counted_share: float = 1.0


class Siren(Method):
    r"""`L + beta (H - anchor)^2`: SIREN's selective entropy regularization.

    H is the mean over sequences of the mean nucleus entropy of each one's peak-entropy tokens. At batch scope it is
    one number for all micro-batches and processes of an optimizer step: the penalty is expanded about the step before,
    so that its gradient does not depend on the split. At micro-batch scope each micro-batch is squared by itself, as
    in the authors' code.
    """

    key = "siren"
    name = "SIREN"
    switch = "siren_coef"
    coefficient = "siren_coef"
    paper = Paper(
        "Rethinking Entropy Regularization in Large Reasoning Models",
        "2509.25133",
        "Yuxian Jiang and Yafu Li and Guanxu Chen and Dongrui Liu and Yu Cheng and Jing Shao",
    )
    summary = (
        "adds a penalty that holds the entropy of uncertain tokens at the initial policy's",
        "the first to try where updates are on-policy, which KL-Cov cannot use; keeps pass@k for some pass@1",
        "its head replaces TRL's: about the same time, less memory",
    )
    metrics = (
        Metric("siren/entropy", "nats", "H: mean over sequences of the mean nucleus entropy of their kept tokens"),
        Metric("siren/anchor", "nats", "H of the policy that generated the first rollout, or siren_anchor"),
        Metric("siren/penalty", "loss", "siren_coef * (H - anchor)^2; with siren_penalty='lower' 0 above the anchor"),
        Metric("siren/kept_share", "share", "tokens above their completion's quantile / tokens"),
        Metric("siren/nucleus_size", "words", "mean size of the nucleus over tokens"),
    )
    published = {
        "siren_coef": 0.005,
        "siren_top_p": 0.8,
        "siren_quantile": 0.8,
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "epsilon": 0.2,
        "delta": 3.0,
        "beta": 0.0,
        "temperature": 1.0,
        "num_generations": 8,
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "weight_decay": 0.1,
        "max_completion_length": 3072,
        "generation_batch_size": 1024,
    }
    authors_code = {"siren_nucleus": "exclusive", "entropy_scope": "micro_batch"}
    example = {"siren_coef": 0.7, "siren_top_p": 0.7, "siren_quantile": 0.6}
    Arguments = SirenArguments
    State = SirenState
    state: SirenState

    @classmethod
    def check(cls, args: Any) -> None:
        if args.max_completion_length == 1 and args.siren_quantile > 0:
            raise ValueError(
                "siren_coef was given with max_completion_length=1: a single token never lies above its own "
                "completion's quantile, so SIREN has no effect. Set siren_quantile=0, or allow longer completions."
            )
        if args.siren_penalty == "lower" and args.siren_anchor == 0:
            raise ValueError(
                'siren_anchor=0 with siren_penalty="lower" has no effect: entropy is never below 0. Leave '
                "siren_anchor out to measure it."
            )

    def attach(self, args: Any) -> "Siren":
        super().attach(args)
        if args.siren_anchor is not None:
            self._set_anchor(args.siren_anchor)
        return self

    def resume(self, saved: dict[str, Any] | None, checkpoint: str) -> None:
        super().resume(saved, checkpoint)
        state, given = self.state, self.args.siren_anchor
        afresh = "it is measured over the next rollout, from the policy as it is now. Set siren_anchor to choose it."
        outcome = afresh if given is None else f"it is siren_anchor={given}."
        if state.anchor is None:
            if given is None:
                logger.warning(f"{checkpoint} holds no anchor of SIREN: {afresh}")
        elif state.measured_under != self._settings():
            logger.warning(
                f"{checkpoint} measured its entropy under {state.measured_under}, this run has {self._settings()}: "
                f"the two do not compare, so the saved anchor is not used; {outcome}"
            )
            self.state = SirenState()
        elif given not in (None, state.anchor):
            logger.warning(f"The anchor is siren_anchor={given}, not the {state.anchor} of {checkpoint}.")
        if given is not None:
            self._set_anchor(given)

    def _settings(self) -> dict[str, Any]:
        names = ("siren_top_p", "siren_quantile", "siren_nucleus", "temperature")
        return {name: getattr(self.args, name) for name in names}

    def _set_anchor(self, anchor: float) -> None:
        self.state.anchor, self.state.measured_under = anchor, self._settings()

    def head(self) -> Mapping[str, Any]:
        return {"top_p": self.args.siren_top_p, "nucleus": self.args.siren_nucleus}

    def needs(self) -> frozenset[str]:
        return frozenset({"head"}) if self.state.anchor is None else frozenset()

    def generated(self, view: View, scope: Scope) -> None:
        """Measure the anchor, over the whole first rollout."""
        if self.state.anchor is not None:
            return
        means, counted = sequence_means(
            view.scored["nucleus_entropy"], self._kept(view.scored["nucleus_entropy"], view.mask)
        )
        total, sequences = scope.sum(torch.stack([wide(means).sum(), wide(counted.sum())])).tolist()
        if sequences and math.isfinite(total):
            self._set_anchor(total / sequences)

    def _kept(self, nucleus_entropy: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return peak_entropy_mask(nucleus_entropy.detach(), mask, self.args.siren_quantile)

    def loss(self, micro: Micro) -> torch.Tensor:
        state, side = self.state, self.args.siren_penalty
        coef = self.args.siren_coef * self.gain
        means, counted = sequence_means(
            micro.head["nucleus_entropy"], self._kept(micro.head["nucleus_entropy"], micro.mask)
        )
        if state.anchor is None:
            return means.sum() * 0.0
        if self.args.entropy_scope == "micro_batch":
            return anchored_penalty(masked_mean(means, counted), state.anchor, coef, side) * counted.any()
        if state.entropy is None:  # the first step measures where the policy stands
            return means.sum() * 0.0
        # The number of sequences that count is known only when the step is over. Its stand-in must not depend on the
        # split: the sequences of this micro-batch, times the share that counted in the steps before.
        entropy = means.sum() / (len(means) * state.counted_share)
        return anchored_penalty(entropy, state.anchor, coef, side, reference=state.entropy)

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        nucleus_entropy = micro.head["nucleus_entropy"].detach()
        kept = self._kept(nucleus_entropy, micro.mask)
        means, counted = sequence_means(nucleus_entropy, kept)
        return {
            "sequence_entropy": wide(means).sum(),
            "sequences_counted": counted.sum(),
            "sequences": torch.full_like(means[:1].sum(), float(len(means))),
            "kept": kept.sum(),
            "tokens": micro.mask.sum(),
            "nucleus_size": masked_sum(wide(micro.head["nucleus_size"]), micro.mask),
        }, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        state, penalty = self.state, math.nan
        if totals["sequences_counted"] and math.isfinite(totals["sequence_entropy"]):
            first = state.entropy is None
            state.entropy = totals["sequence_entropy"] / totals["sequences_counted"]
            share = totals["sequences_counted"] / totals["sequences"]
            state.counted_share = share if first else SHARE_MEMORY * state.counted_share + (1 - SHARE_MEMORY) * share
            if state.anchor is not None:
                here = torch.tensor(state.entropy, dtype=torch.float64)
                coef = self.args.siren_coef * self.gain
                penalty = anchored_penalty(here, state.anchor, coef, self.args.siren_penalty).item()
        return {
            "siren/entropy": ratio(totals["sequence_entropy"], totals["sequences_counted"]),
            "siren/anchor": math.nan if state.anchor is None else state.anchor,
            "siren/penalty": penalty,
            "siren/kept_share": ratio(totals["kept"], totals["tokens"]),
            "siren/nucleus_size": ratio(totals["nucleus_size"], totals["tokens"]),
        }

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        head = micro.head
        return {
            "nucleus_entropy": head["nucleus_entropy"],
            "nucleus_size": head["nucleus_size"],
            "kept": self._kept(head["nucleus_entropy"], micro.mask),
        }

    def direction(self) -> int:
        """To the anchor; with `siren_penalty="lower"` only up."""
        if self.state.anchor is None or self.state.entropy is None:
            return 0
        gap = self.state.anchor - self.state.entropy
        if gap > 0:
            return 1
        return -1 if gap < 0 and self.args.siren_penalty == "two_sided" else 0

    def numbers(self) -> dict[str, float]:
        numbers = {"anchor": self.state.anchor, "siren": self.state.entropy}
        return {name: value for name, value in numbers.items() if value is not None}
