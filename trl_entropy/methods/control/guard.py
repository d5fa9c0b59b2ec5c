"""The entropy guard: what to do when entropy leaves the bounds that the user set."""

import logging
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from ...metrics import Metric
from ..base import argument
from .controller import Controller, Measured


logger = logging.getLogger(__name__)

FACTOR = 0.5
FLOOR = 2.0**-10  # low enough to do nothing, and ten steps inside bring the coefficients back
_NATS = "nats >= 0, or null for no bound"


@dataclass
class GuardArguments:
    entropy_guard: Literal["stop", "lower"] | None = argument(
        None,
        "What to do when the mean token entropy of an optimizer step leaves the bounds. `stop`: save a checkpoint and "
        "end the run. `lower`: halve the coefficients of the entropy terms that push it further out, at every step "
        "until it is back, then double them back.",
        lambda x: x in (None, "stop", "lower"),
        '"stop", "lower" or null',
    )
    entropy_guard_low: float | None = argument(
        None,
        "Lower bound, nats: below it the policy has collapsed.",
        lambda x: x is None or 0 <= x < math.inf,
        _NATS,
    )
    entropy_guard_high: float | None = argument(
        None,
        "Upper bound, nats: above it entropy has exploded.",
        lambda x: x is None or 0 < x < math.inf,
        f"{_NATS}, above entropy_guard_low",
    )


@dataclass
class GuardState:
    """`scales`: the factor in (0, 1] on each coefficient; `said`: the excursion that was reported."""

    scales: dict[str, float] = field(default_factory=dict)


class EntropyGuard(Controller):
    """Lowers what pushes entropy further out of its bounds, or stops the run.

    A term that already pushes the right way is left alone, because lowering it would make things worse.
    """

    key = "entropy_guard"
    name = "Entropy guard"
    switch = "entropy_guard"
    summary = (
        "halves the coefficients that push entropy out of its bounds, or stops the run",
        "long runs that nobody watches: entropy explodes as often as it collapses",
        "none",
    )
    metrics = (Metric("guard/scale", "factor", "smallest factor that the guard has put on a coefficient; 1 inside"),)
    example = {"entropy_guard": "lower", "entropy_guard_high": 0.01, "entropy_coef": 0.01}
    Arguments = GuardArguments
    State = GuardState
    state: GuardState
    _said: tuple[int, bool] | None = None

    @classmethod
    def check(cls, args: Any) -> None:
        low, high = args.entropy_guard_low, args.entropy_guard_high
        if low is None and high is None:
            raise ValueError(
                f'entropy_guard="{args.entropy_guard}" has no bound to guard. Set entropy_guard_low, '
                "entropy_guard_high, or both, in nats (siren/entropy and entropy are logged: see where they move)."
            )
        if low is not None and high is not None and high <= low:
            raise ValueError(f"entropy_guard_high={high} is not allowed; give {_NATS}, above entropy_guard_low={low}.")

    @classmethod
    def moves(cls, args: Any) -> bool:
        return args.entropy_guard == "lower"

    def resume(self, saved: dict[str, Any] | None, checkpoint: str) -> None:
        super().resume(saved, checkpoint)
        if self.args.entropy_guard != "lower" and any(scale != 1 for scale in self.state.scales.values()):
            logger.warning(
                f"{checkpoint} had entropy coefficients lowered by its guard ({self.state.scales}); this run has "
                f"entropy_guard={self.args.entropy_guard!r}, so they are whole again."
            )
            self.state.scales = {}

    def factors(self, coefficients: tuple[str, ...]) -> dict[str, float]:
        return {name: self.state.scales.get(name, 1.0) for name in coefficients}

    def step(self, measured: Measured) -> dict[str, float]:
        if not math.isnan(measured.entropy):
            out = self.breach(measured.entropy)
            if out and self.args.entropy_guard == "stop":
                logger.error(f"{self._where(measured, out)}. The run stops here, with a checkpoint.")
                self.stop = True
            elif out:
                self._lower(measured, out)
            else:
                self._said = None
                self.state.scales = {n: min(1.0, s / FACTOR) for n, s in self.state.scales.items()}
        return {"guard/scale": min(self.state.scales.values(), default=1.0)}

    def breach(self, entropy: float) -> int:
        """-1 when `entropy` (nats) is below `entropy_guard_low`, 1 above `entropy_guard_high`, else 0."""
        low, high = self.args.entropy_guard_low, self.args.entropy_guard_high
        if low is not None and entropy < low:
            return -1
        return int(high is not None and entropy > high)

    def _lower(self, measured: Measured, out: int) -> None:
        harmful = [name for name, way in measured.directions.items() if way == out]
        for name in harmful:
            self.state.scales[name] = max(self.state.scales.get(name, 1.0) * FACTOR, FLOOR)
        if self._said != (out, bool(harmful)):  # once for each excursion
            self._said = (out, bool(harmful))
            done = f"halved at every step that it stays: the coefficients of {', '.join(harmful)}"
            if not harmful:
                done = "no entropy term pushes that way, so none is lowered: look at learning_rate and epsilon"
            logger.warning(f"{self._where(measured, out)}; {done}.")

    def _where(self, measured: Measured, out: int) -> str:
        bounds = f"[{self.args.entropy_guard_low}, {self.args.entropy_guard_high}]"
        side = "above" if out > 0 else "below"
        return f"Step {measured.step}: entropy is {measured.entropy:.4g} nats, {side} entropy_guard's {bounds}"
