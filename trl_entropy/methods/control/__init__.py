"""Controllers: what moves a coefficient from one optimizer step to the next. The registration is this tuple."""

from .band import Band
from .controller import BONUS, Controller, Measured
from .doubling import Doubling
from .guard import EntropyGuard
from .pi_control import PIControl
from .schedule import Schedule
from .sign_step import SignStep


CONTROLLERS: tuple[type[Controller], ...] = (Schedule, SignStep, Doubling, PIControl, Band, EntropyGuard)
"""Every controller of the package, in the order in which they act."""

__all__ = ["BONUS", "CONTROLLERS", "Controller", "Measured"]
