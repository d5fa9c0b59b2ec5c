"""Which checkpoints are complete: a list of files, written last, says what a folder must hold.

A checkpoint is many files, written one after another by every process. The folder of a run that died while saving has
the same name as a good one, and the highest number. So each folder is sealed when all processes have written theirs,
and only then are older ones deleted; a resumed run takes the newest folder that holds what its seal says.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers.trainer

from ..durable import write_whole
from ..step.state import STATE_FILE, DamagedStateError, EntropyState


SEAL = "checkpoint_files.json"
_TRAINER_STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)$")


class IncompleteCheckpointError(ValueError):
    """A checkpoint that is half-written or damaged was asked for, or no other is there."""


class SaveError(OSError):
    """A checkpoint could not be written. Older ones are untouched."""


def seal(folder: str | os.PathLike) -> None:
    """Record the names and sizes (bytes) of everything in `folder`. To be called when all processes have written."""
    folder = Path(folder)
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        # cards are edited afterwards; the entropy state carries a checksum, and may be deleted to go on without it
        if path.is_file() and path.suffix != ".md" and path.name not in (SEAL, STATE_FILE)
    }
    write_whole(folder / SEAL, json.dumps({"files": sizes}, indent=2))


def unseal(folder: str | os.PathLike) -> None:
    """Mark `folder` as not finished, before anything is written to it or over it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_whole(Path(folder) / SEAL, json.dumps({"files": None}))


@contextmanager
def rotation_postponed() -> Iterator[None]:
    """Keep the Trainer from deleting older checkpoints while it saves one: other processes may still be writing."""
    rotate = transformers.trainer.rotate_checkpoints
    transformers.trainer.rotate_checkpoints = lambda **_: None
    try:
        yield
    finally:
        transformers.trainer.rotate_checkpoints = rotate


def flaw(folder: str | os.PathLike) -> str | None:
    """What is wrong with a checkpoint, `None` when nothing is.

    A sealed one must hold every file at its size. One without a seal passes when another program made it, which shows
    in its lack of an entropy state: then its trainer state, which `Trainer` writes last, must be readable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    if not (folder / SEAL).exists() and (folder / STATE_FILE).exists():
        return f"it was not finished: {SEAL}, which is written last, is missing"
    try:
        if (folder / SEAL).exists():
            sizes = json.loads((folder / SEAL).read_text())["files"]
            if sizes is None:
                return f"it was not finished: {SEAL} lists no files yet"
            for name, size in sizes.items():
                if not (folder / name).exists():
                    return f"{name} is missing"
                found = (folder / name).stat().st_size
                if found != size:
                    return f"{name} has {found} bytes instead of {size}"
        json.loads((folder / _TRAINER_STATE).read_text())
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{SEAL} or {_TRAINER_STATE} cannot be read ({error})"
    try:
        EntropyState.load(folder)
    except DamagedStateError as error:
        return str(error)
    return None


def newest_complete(run: str | os.PathLike) -> tuple[str | None, dict[str, str]]:
    """The complete checkpoint of highest step in the folder `run`, and what is wrong with those of higher steps."""
    found = [(int(match[1]), path) for path in Path(run).glob("checkpoint-*") if (match := _NAME.search(path.name))]
    flaws: dict[str, str] = {}
    for _, path in sorted(found, reverse=True):
        problem = flaw(path)
        if problem is None:
            return str(path), flaws
        flaws[str(path)] = problem
    return None, flaws


def abandon(folder: str | os.PathLike, error: BaseException) -> SaveError:
    """Remove a checkpoint that could not be written, which frees its space, and say what is left to resume from."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    good, _ = newest_complete(folder.parent)
    free = shutil.disk_usage(folder.parent).free / 2**30
    return SaveError(
        f"{folder} could not be written ({type(error).__name__}: {error}); {free:.1f} GiB are free there. What was "
        f"written of it is removed. The newest complete checkpoint is {good or 'none'}. Where space is short, make "
        "room or set save_total_limit; then start again with resume_from_checkpoint=True."
    )
