"""Who looks on while a step is made: the token map and the dynamics, without the trainer knowing them."""

from typing import Any

from ..methods import Micro


class Observer:
    """Sees every micro-batch of training, changes none."""

    def before_loss(self, step: int, inputs: dict[str, Any]) -> None:
        """The micro-batch of the optimizer step `step` (from 1), as TRL's loss receives it."""

    def after_loss(self, step: int, micro: Micro, marks: dict[str, Any]) -> None:
        """The same after the forward, with the marks that the methods leave on its tokens, by word."""
