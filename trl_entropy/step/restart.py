"""From a checkpoint's entropy state to the methods and controllers of the run that goes on."""

import logging
from collections.abc import Iterable

from ..methods import Controller, Method
from .state import EntropyState


logger = logging.getLogger(__name__)


def restored(checkpoint: str, parts: Iterable[Method | Controller]) -> EntropyState:
    """Give every part its saved state; says what a run lacks, or leaves out. Returns the state to go on with.

    Raises:
        DamagedStateError: as [`EntropyState.load`][trl_entropy.step.state.EntropyState.load].
    """
    state = EntropyState.load(checkpoint)
    if state is None:
        logger.warning(
            f"{checkpoint} holds no entropy state: it was not saved by EntropyGRPOTrainer with a method on. What a "
            "method measures at the start of a run (SIREN's anchor) is measured from the policy as it is now."
        )
        state = EntropyState()
    parts = tuple(parts)
    for part in parts:
        part.resume(state.parts.get(part.key), checkpoint)
    for key in state.parts.keys() - {part.key for part in parts}:
        logger.warning(f"{checkpoint} holds the state of {key!r}, which is off in this run: it is kept, and not used.")
    return state
