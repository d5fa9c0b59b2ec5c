"""Controllers: what moves a coefficient from one optimizer step to the next. The registration is this tuple."""

from .controller import BONUS, Controller, Measured
from .guard import EntropyGuard


CONTROLLERS: tuple[type[Controller], ...] = (EntropyGuard,)

__all__ = ["BONUS", "CONTROLLERS", "Controller", "Measured"]
