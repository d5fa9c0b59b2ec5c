"""Open-loop schedules of the coefficients: constant, linear, cosine."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from ...metrics import Metric
from ..base import argument
from .controller import Controller, Measured


@dataclass
class ScheduleArguments:
    schedule_shape: Literal["linear", "cosine"] | None = argument(
        None,
        "How the factor on all coefficients goes from schedule_start to schedule_end over the training; unset, "
        "they are "
        "constant.",
        lambda x: x in (None, "linear", "cosine"),
        '"linear", "cosine" or null',
    )
    schedule_start: float = argument(1.0, "Factor at the start.", lambda x: 0 <= x < math.inf, "a finite number >= 0")
    schedule_end: float = argument(0.0, "Factor at the end.", lambda x: 0 <= x < math.inf, "a finite number >= 0")


@dataclass
class ScheduleState:
    """`progress` of the training, in [0, 1]."""

    progress: float = 0.0


class Schedule(Controller):
    """`start + (end - start) s`, with `s` the share of the training that is done, or `(1 - cos(pi s)) / 2`."""

    key = "schedule"
    name = "Schedule"
    switch = "schedule_shape"
    summary = (
        "moves all coefficients from a start to an end over the training",
        "explore early, exploit late; combines with a target",
        "none",
    )
    metrics = (Metric("schedule/factor", "factor", "factor on the coefficients in the next step"),)
    example = {"schedule_shape": "cosine", "entropy_coef": 0.01}
    Arguments = ScheduleArguments
    State = ScheduleState
    state: ScheduleState

    @classmethod
    def check(cls, args: Any) -> None:
        if args.schedule_start == args.schedule_end:
            raise ValueError(
                f"schedule_start and schedule_end are both {args.schedule_end}, so schedule_shape has no effect."
            )

    def begin(self, progress: float) -> None:
        super().begin(progress)
        self.state.progress = progress

    def factor(self) -> float:
        """The factor now."""
        share = self.state.progress
        if self.args.schedule_shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.args.schedule_start + (self.args.schedule_end - self.args.schedule_start) * share

    def factors(self, coefficients: tuple[str, ...]) -> dict[str, float]:
        return dict.fromkeys(coefficients, self.factor())

    def step(self, measured: Measured) -> dict[str, float]:
        self.state.progress = measured.progress
        return {"schedule/factor": self.factor()}
