"""Which checkpoints are complete: a list of files, written last, says what a folder must hold.

A checkpoint is many files, written one after another by every process. The folder of a run that died while saving has
the same name as a good one, and the highest number. So each folder is sealed when all processes have written theirs,
and only then are older ones deleted; a resumed run takes the newest folder of its own that holds what its seal says.

The seal, `checkpoint_files.json`, has the size and the checksum of each file, the run that saved it, and what the
order of its data depends on ([`data_place`][trl_entropy.reliability.data_place]).
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import Any

import transformers.trainer
import xxhash

from .. import TrlEntropyError
from ..durable import write_whole
from ..step.state import STATE_FILE, DamagedStateError, EntropyState
from .run_folder import RunId, owner_of, run_of


SEAL = "checkpoint_files.json"
EARLIER = "_earlier_runs"  # where checkpoints of other runs go whose names this run needs
_TRAINER_STATE = "trainer_state.json"
_NAME = re.compile(r"checkpoint-(\d+)$")
_CHUNK = 1 << 20


class IncompleteCheckpointError(TrlEntropyError, ValueError):
    """A checkpoint that is half-written or damaged was asked for, or no other is there."""


class SaveError(TrlEntropyError, OSError):
    """A checkpoint could not be written. Older ones are untouched."""


def seal(folder: str | os.PathLike, run: RunId | None = None, **facts: Any) -> None:
    """Record size (bytes) and checksum of everything in `folder`, the run that saved it, and other facts, plain data.

    To be called when all processes have written.
    """
    folder = Path(folder)
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "xxh3": _checksum(path)}
        for path in sorted(folder.rglob("*"))
        # cards are edited afterwards; the entropy state carries a checksum, and may be deleted to go on without it
        if path.is_file() and path.suffix != ".md" and path.name not in (SEAL, STATE_FILE)
    }
    write_whole(folder / SEAL, json.dumps({"files": files, **_signed(run), **facts}, indent=2))


def unseal(folder: str | os.PathLike, run: RunId | None = None) -> None:
    """Mark `folder` as not finished, before anything is written to it or over it."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_whole(Path(folder) / SEAL, json.dumps({"files": None, **_signed(run)}))


def sealed_facts(folder: str | os.PathLike) -> dict[str, Any]:
    """What the seal says beside the files; empty where there is none that can be read, or it is not finished."""
    content = _seal_of(folder)
    return {key: value for key, value in content.items() if key != "files"} if content.get("files") else {}


@contextmanager
def rotation_postponed() -> Iterator[None]:
    """Keep the Trainer from deleting older checkpoints while it saves one: other processes may still be writing."""
    rotate = transformers.trainer.rotate_checkpoints
    transformers.trainer.rotate_checkpoints = lambda **_: None
    try:
        yield
    finally:
        transformers.trainer.rotate_checkpoints = rotate


def flaw(folder: str | os.PathLike, contents: bool = True) -> str | None:
    """What is wrong with a checkpoint, `None` when nothing is.

    A sealed one must hold every file, at its size and with its checksum. One without a seal passes when another
    program made it, which shows in its lack of an entropy state: then its trainer state, which `Trainer` writes last,
    must be readable. Without `contents` names and sizes are looked at, and no checksum.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return "there is no such folder"
    if not (folder / SEAL).exists() and (folder / STATE_FILE).exists():
        return f"it was not finished: {SEAL}, which is written last, is missing"
    try:
        if (folder / SEAL).exists():
            files = json.loads((folder / SEAL).read_text())["files"]
            if files is None:
                return f"it was not finished: {SEAL} lists no files yet"
            for name, wanted in files.items():
                problem = _file_flaw(folder / name, name, wanted, contents)
                if problem:
                    return problem
        json.loads((folder / _TRAINER_STATE).read_text())
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{SEAL} or {_TRAINER_STATE} cannot be read ({error})"
    try:
        EntropyState.load(folder)
    except DamagedStateError as error:
        return str(error)
    return None


def newest_complete(run: str | os.PathLike, contents: bool = True) -> tuple[str | None, dict[str, str]]:
    """The complete checkpoint of highest step of the run that owns the folder `run`, `None` where there is none.

    Beside it, by path, why one of a higher step is passed over: its [`flaw`], or that another run saved it. Where
    nobody left a name as the folder's owner, every checkpoint in it counts.
    """
    owner = owner_of(run)
    flaws: dict[str, str] = {}
    for step, path in sorted(_checkpoints(run), reverse=True):
        maker = run_that_saved(path)
        problem = flaw(path, contents=False)
        if problem is None and owner and not owner.owns(maker.id, step):
            problem = f"it was saved by {maker}, not by {owner}, which was the last to train in this folder"
        problem = problem or (flaw(path) if contents else None)
        if problem is None:
            return str(path), flaws
        flaws[str(path)] = problem
    return None, flaws


def run_that_saved(folder: str | os.PathLike) -> RunId:
    """The run that began to save a checkpoint; one without an id for what is not sealed by ours."""
    return run_of(_seal_of(folder).get("run"))


def _seal_of(folder: str | os.PathLike) -> dict[str, Any]:
    try:
        content = json.loads((Path(folder) / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def goes_on_as(folder: str | os.PathLike, run_folder: str | os.PathLike) -> RunId | None:
    """The run that goes on from the checkpoint `folder` in `run_folder`; `None` when that is another run's folder.

    The same run where the checkpoint is its newest complete one, a branch of it where it is not.
    """
    folder = Path(folder).resolve()
    name = _NAME.fullmatch(folder.name)
    if name is None or folder.parent != Path(run_folder).resolve():
        return None
    step, maker = int(name[1]), run_that_saved(folder)
    later = [
        path
        for other, path in _checkpoints(run_folder)
        if other > step and run_that_saved(path).id == maker.id and flaw(path) is None
    ]
    return maker.branch(step) if later or not maker.id else maker


def others(run_folder: str | os.PathLike, run: RunId) -> dict[RunId, list[str]]:
    """Names of the complete checkpoints in a folder that are not `run`'s own, by the run that saved them."""
    found: dict[RunId, list[str]] = {}
    for step, path in sorted(_checkpoints(run_folder)):
        maker = run_that_saved(path)
        if not run.owns(maker.id, step) and flaw(path, contents=False) is None:
            found.setdefault(maker, []).append(path.name)
    return found


def make_way(folder: str | os.PathLike, run: RunId) -> Path | None:
    """Move a complete checkpoint of another run, whose name `run` is about to need, to where nobody overwrites it."""
    folder = Path(folder)
    maker, step = run_that_saved(folder), int(folder.name.rpartition("-")[2])
    if run.owns(maker.id, step) or flaw(folder, contents=False):
        return None
    place = folder.parent / EARLIER / (maker.id or "unknown")
    place.mkdir(parents=True, exist_ok=True)
    names = chain([folder.name], (f"{folder.name}.{number}" for number in count(2)))
    return folder.rename(next(place / name for name in names if not (place / name).exists()))


def rotate(run_folder: str | os.PathLike, run: RunId, limit: int | None, keep: tuple[str | None, ...]) -> None:
    """Delete `run`'s own checkpoints of lowest step, until `limit` are left; half-written ones go first.

    By step, whatever the clock says; without a limit all are kept. Other runs' checkpoints neither count nor are
    deleted. What to `keep` never is: the checkpoint just sealed, and the best.
    """
    if not limit or limit < 0:
        return
    own = [(flaw(path, contents=False) is None, step, path) for step, path in _checkpoints(run_folder)]
    own = sorted(entry for entry in own if run.owns(run_that_saved(entry[2]).id, entry[1]))
    safe = {os.path.realpath(path) for path in keep if path}
    for path in [path for _, _, path in own if os.path.realpath(path) not in safe][: max(0, len(own) - limit)]:
        shutil.rmtree(path, ignore_errors=True)


def abandon(folder: str | os.PathLike, error: BaseException) -> SaveError:
    """Remove a checkpoint that could not be written, which frees its space, and say what is left to resume from."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    good, _ = newest_complete(folder.parent, contents=False)
    free = shutil.disk_usage(folder.parent).free / 2**30
    return SaveError(
        f"{folder} could not be written ({type(error).__name__}: {error}); {free:.1f} GiB are free there. What was "
        f"written of it is removed. The newest complete checkpoint is {good or 'none'}. Where space is short, make "
        "room or set save_total_limit; then start again with resume_from_checkpoint=True."
    )


def _checkpoints(run: str | os.PathLike) -> list[tuple[int, Path]]:
    found = Path(run).glob("checkpoint-*")
    return [(int(match[1]), path) for path in found if (match := _NAME.search(path.name)) and path.is_dir()]


def _signed(run: RunId | None) -> dict[str, Any]:
    return {"run": asdict(run)} if run else {}


def _file_flaw(path: Path, name: str, wanted: int | dict[str, Any], contents: bool) -> str | None:
    if not path.exists():
        return f"{name} is missing"
    size = wanted if isinstance(wanted, int) else wanted["bytes"]  # version 0.1 kept sizes only
    found = path.stat().st_size
    if found != size:
        return f"{name} has {found} bytes instead of {size}"
    if contents and isinstance(wanted, dict) and _checksum(path) != wanted["xxh3"]:
        return f"{name} is damaged: its checksum is not that of the file that was saved"
    return None


def _checksum(path: Path) -> str:
    """XXH3, 128 bits: for damage, not for forgery; ten times as fast as SHA-256."""
    digest, buffer = xxhash.xxh3_128(), memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()
