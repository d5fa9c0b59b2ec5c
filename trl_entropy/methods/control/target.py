"""Closed-loop controllers: what they aim at, what they move, and the bounds that they keep."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ..base import argument
from .controller import Controller, Measured


LARGEST = 13.8  # nats: the entropy of a million equally likely words


@dataclass
class TargetArguments:
    control_target: float | None = argument(
        None,
        "Mean token entropy that the controller holds, in the unit below.",
        lambda x: x is None or 0 < x < LARGEST,
        f"a number > 0 and, in nats, below {LARGEST}, or null",
    )
    control_target_unit: Literal["nats", "initial", "anchor"] = argument(
        "nats",
        "`nats`; `initial`: a fraction of the first optimizer step's entropy; `anchor`: a fraction of SIREN's "
        "anchor, which "
        "SIREN's own entropy is then held to.",
        lambda x: x in ("nats", "initial", "anchor"),
        '"nats", "initial" or "anchor"',
    )
    control_start: float = argument(
        1.0, "Factor on the coefficients at the start.", lambda x: 0 <= x < math.inf, "a finite number >= 0"
    )
    control_min: float = argument(0.0, "Least factor.", lambda x: 0 <= x < math.inf, "a finite number >= 0")
    control_max: float = argument(10.0, "Largest factor.", lambda x: 0 < x < math.inf, "a finite number > 0")


@dataclass
class TargetState:
    """By coefficient its `gains` and the `integrals` of its error; `initial` entropy, nats, None until measured."""

    gains: dict[str, float] = field(default_factory=dict)
    integrals: dict[str, float] = field(default_factory=dict)
    initial: float | None = None


class TargetController(Controller):
    """Moves every coefficient by the error `d (target - H)`, d the way in which a larger one pushes entropy.

    Each is clamped to `[control_min, control_max]`. A step whose entropy is not finite moves nothing.
    """

    answers: ClassVar[str] = "how a target entropy is held"
    State = TargetState
    state: TargetState

    @classmethod
    def check(cls, args: Any) -> None:
        if args.control_target is None:
            raise ValueError(
                f"{cls.switch} needs control_target, the entropy to hold (control_target_unit says in what)."
            )
        if args.control_target_unit != "nats" and args.control_target > 10:
            raise ValueError(
                f"control_target={args.control_target} is not allowed with control_target_unit="
                f"{args.control_target_unit!r}; give a fraction, such as 0.4."
            )
        if args.control_target_unit == "anchor" and args.siren_coef == 0:
            raise ValueError(
                "control_target_unit='anchor' needs SIREN, which measures it. Set siren_coef, or 'initial'."
            )
        if not args.control_min <= args.control_start <= args.control_max or args.control_min == args.control_max:
            raise ValueError(
                f"control_min={args.control_min}, control_start={args.control_start}, "
                f"control_max={args.control_max} are not in this order: the bounds are crossed, or leave no room."
            )

    def factors(self, coefficients: tuple[str, ...]) -> dict[str, float]:
        return {name: self._gain(name) for name in coefficients}

    def step(self, measured: Measured) -> dict[str, float]:
        entropy, target = self._aim(measured)
        if not (math.isfinite(entropy) and math.isfinite(target)):
            return {f"{self.key}/target": target, f"{self.key}/factor": self._largest()}
        for name, way in measured.directions.items():
            gain = self._gain(name)
            if way:
                gain = self.move(name, gain, way * (target - entropy))
            self.state.gains[name] = min(max(gain, self.args.control_min), self.args.control_max)
        return {f"{self.key}/target": target, f"{self.key}/factor": self._largest()}

    def move(self, name: str, gain: float, error: float) -> float:
        """The next gain of a coefficient, before it is clamped. `error`, nats: positive where it should push more."""
        raise NotImplementedError(f"{type(self).__name__} must say how it moves a coefficient")

    def _gain(self, name: str) -> float:
        return self.state.gains[name] if name in self.state.gains else float(self.args.control_start)

    def _aim(self, measured: Measured) -> tuple[float, float]:
        """The entropy that is held, and its target, nats."""
        unit, target = self.args.control_target_unit, self.args.control_target
        if unit == "anchor":
            numbers = measured.numbers
            return numbers.get("siren", math.nan), target * numbers.get("anchor", math.nan)
        if self.state.initial is None and math.isfinite(measured.entropy):
            self.state.initial = measured.entropy
        whole = 1.0 if unit == "nats" else self.state.initial
        return measured.entropy, math.nan if whole is None else target * whole

    def _largest(self) -> float:
        return max(self.state.gains.values(), default=self.args.control_start)
