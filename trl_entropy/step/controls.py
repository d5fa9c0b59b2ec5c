"""The controllers of a run, and the factor that they together put on each coefficient."""

import math
from typing import Any

from ..methods import BONUS, Measured, Method, coefficients, controllers_on


class Controls:
    """Moves the methods' gains and TRL's bonus at the end of an optimizer step.

    Args:
        args: the trainer's arguments.
        methods: the run's methods.
    """

    def __init__(self, args: Any, methods: tuple[Method, ...]):
        self.args, self.methods = args, methods
        self.controllers = tuple(kind().attach(args) for kind in controllers_on(args))
        self.names = coefficients(args, methods)

    def step(self, step: int, progress: float, entropy: float) -> dict[str, float]:
        """Let every controller move on what a step measured; returns what is logged."""
        directions = {method.key: method.direction() for method in self.methods}
        directions[BONUS] = 1 if self.args.entropy_coef > 0 else -1
        numbers = {name: value for method in self.methods for name, value in method.numbers().items()}
        measured = Measured(step, progress, entropy, {name: directions[name] for name in self.names}, numbers)
        return {key: value for controller in self.controllers for key, value in controller.step(measured).items()}

    def begin(self, trainer: Any, progress: float) -> None:
        """Let every controller know that training begins or goes on, with this share of it done."""
        for controller in self.controllers:
            controller.begin(progress)
        self.apply(trainer)

    def apply(self, trainer: Any) -> None:
        """Put the factors on the methods and on the trainer's `entropy_coef`."""
        factors = [controller.factors(self.names) for controller in self.controllers]
        gains = {name: math.prod(factor[name] for factor in factors) for name in self.names}
        for method in self.methods:
            method.gain = gains.get(method.key, 1.0)
        if BONUS in gains:
            trainer.entropy_coef = self.args.entropy_coef * gains[BONUS]

    @property
    def stop(self) -> bool:
        """Whether a controller wants the run to end."""
        return any(controller.stop for controller in self.controllers)
