"""What is kept beside training, such as logs and pictures, never ends it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


logger = logging.getLogger(__name__)

_told: set[str] = set()


@contextmanager
def beside_training(what: str) -> Iterator[None]:
    """Run a block that training does not need: where it fails, a full disk or not, warn once a run, and go on.

    Only for what no other process waits for: a process that leaves a collective early holds up the others. `what` is
    being written, the subject of the warning, such as "metrics.jsonl".
    """
    try:
        yield
    except Exception as error:
        if what not in _told:
            _told.add(what)
            logger.warning(
                f"{what} could not be written ({type(error).__name__}: {error}). Training goes on without what is "
                "missing of it; each time it is tried again, and this is said once."
            )


def tell_again() -> None:
    """A run begins: what fails in it is said, whatever was said before."""
    _told.clear()
