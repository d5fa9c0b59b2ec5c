"""What runs beside training, and observes it."""

from typing import Any

from .dynamics_watch import dynamics_of
from .run_log import RunLogCallback
from .token_map import token_map_of


def attach_observers(trainer: Any) -> None:
    """Give a trainer with entropy control its run log, and the token map and dynamics that its arguments ask for."""
    trainer.add_callback(RunLogCallback(methods=trainer.methods))
    token_map, dynamics = token_map_of(trainer), dynamics_of(trainer)
    if token_map:
        trainer.observe(token_map)
    if dynamics:
        trainer.observe(dynamics)
        trainer.add_callback(dynamics)
