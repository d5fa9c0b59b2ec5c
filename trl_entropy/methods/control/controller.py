"""What a controller is: it moves the coefficients of the entropy terms from one optimizer step to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ...metrics import Metric
from ..base import NoArguments, NoState, Paper, defaults


BONUS = "entropy_coef"
"""TRL's own entropy bonus, by its argument; the methods' coefficients go by the method's key."""


@dataclass
class Measured:
    """What an optimizer step measured, over all processes: the same on each of them.

    Attributes:
        step: its number, from 1.
        progress: share of the training that is done, in [0, 1].
        entropy: mean token entropy, nats; NaN where no token counted.
        directions: by coefficient, which way a larger one pushes entropy: 1, -1, or 0.
        numbers: what methods offer to aim at, such as SIREN's `anchor`.
    """

    step: int
    progress: float
    entropy: float
    directions: Mapping[str, int]
    numbers: Mapping[str, float] = field(default_factory=dict)


class Controller:
    """The base of every controller. Its factors multiply the coefficients; those of several controllers multiply.

    Every process gives it the same numbers, so it needs no collective. Attributes as in
    [`Method`][trl_entropy.methods.base.Method].
    """

    key: ClassVar[str]
    name: ClassVar[str]
    switch: ClassVar[str]
    paper: ClassVar[Paper | None] = None
    answers: ClassVar[str] = ""
    summary: ClassVar[tuple[str, str, str]]
    metrics: ClassVar[tuple[Metric, ...]] = ()
    published: ClassVar[Mapping[str, Any]] = {}
    example: ClassVar[Mapping[str, Any]] = {}
    Arguments: ClassVar[type] = NoArguments
    State: ClassVar[type] = NoState

    args: Any
    state: Any
    stop: bool = False  # the run must end, with a checkpoint

    @classmethod
    def is_on(cls, args: Any) -> bool:
        """Whether the arguments switch it on."""
        return getattr(args, cls.switch) != defaults(cls.Arguments)[cls.switch]

    @classmethod
    def check(cls, args: Any) -> None:
        """Raise `ValueError` for settings that contradict each other."""

    @classmethod
    def moves(cls, args: Any) -> bool:
        """Whether, with these arguments, it is there to move coefficients."""
        return True

    def attach(self, args: Any) -> "Controller":
        """Take the trainer's arguments; returns itself."""
        self.args, self.state = args, self.State()
        return self

    def resume(self, saved: dict[str, Any] | None, checkpoint: str) -> None:
        """Go on from the state saved in a checkpoint, None when it holds none."""
        known = {f.name for f in fields(self.State)}
        self.state = self.State(**{name: value for name, value in (saved or {}).items() if name in known})

    def begin(self, progress: float) -> None:
        """Training begins or goes on, with this share of it done."""
        self.stop = False

    def factors(self, coefficients: tuple[str, ...]) -> dict[str, float]:
        """The factor on each coefficient, as the state has it."""
        return dict.fromkeys(coefficients, 1.0)

    def step(self, measured: Measured) -> dict[str, float]:
        """Move on at the end of an optimizer step; returns what is logged."""
        return {}
