"""A run owns its folder: who trains there, and which of the checkpoints in it are that run's own.

The folder's owner is written to `_run_owner.json`, locked while the run lives. The kernel gives the lock back when
the process dies, however it dies, so that a lock which is held means a run that is alive. Names that begin with `_`
are not pushed to the Hub.

Each checkpoint holds the run that saved it. The run that resumes from the newest of them is the same run. One that
goes back to an earlier one is a branch, with an id of its own: up to there the checkpoints are its own, those beyond
are not. Fresh runs have no ancestors.
"""

import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import TrlEntropyError


try:
    import fcntl
except ImportError:  # no locks of this kind on Windows
    fcntl = None

OWNER_FILE = "_run_owner.json"
_held: dict[Path, int] = {}  # descriptors of the folders that this process has locked


class FolderInUseError(TrlEntropyError, RuntimeError):
    """Another run, which is alive, trains in the folder."""


@dataclass(frozen=True)
class RunId:
    """A run, as its checkpoints and its folder name it.

    Attributes:
        id: eight hexadecimal digits; `None` for what wrote checkpoints that name no run, such as plain TRL.
        started: when, in UTC.
        ancestors: the runs that this one goes on from, each with the last optimizer step of it that counts.
    """

    id: str | None = None
    started: str = ""
    ancestors: tuple[tuple[str | None, int], ...] = ()

    def owns(self, run: str | None, step: int) -> bool:
        """Whether a checkpoint of `run` after `step` lies on this run's way."""
        return run == self.id or any(run == other and step <= last for other, last in self.ancestors)

    def branch(self, step: int) -> "RunId":
        """A run that goes on from this one's checkpoint after `step`."""
        return replace(new_run(), ancestors=(*self.ancestors, (self.id, step)))

    def __str__(self) -> str:
        return f"run {self.id} (started {self.started})" if self.id else "a run that left no id"


def new_run() -> RunId:
    """A run of its own, beginning now."""
    return RunId(uuid.uuid4().hex[:8], datetime.now(UTC).isoformat(timespec="seconds"))


def run_of(content: Any) -> RunId:
    """A run as it was written to a file; one without an id where none can be read."""
    try:
        return RunId(content["id"], content["started"], tuple((run, int(last)) for run, last in content["ancestors"]))
    except (KeyError, TypeError, ValueError):
        return RunId()


@contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Hold `folder` for a run of this process, until the block or the process ends.

    Raises:
        FolderInUseError: when another process holds it; names that run.
        OSError: when the folder cannot be written to, or cannot be locked.
    """
    folder = Path(folder).resolve()
    if fcntl is None or folder in _held:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # A record lock, which forked children such as a data loader's workers do not inherit
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        owner = _read(file)
        os.close(file)
        raise FolderInUseError(
            f"{folder} is in use: {run_of(owner)}, process {owner.get('pid', '?')} on {owner.get('host', '?')}, is "
            "alive and trains there. Give this run another output_dir, or end the other one."
        ) from error
    except OSError:
        os.close(file)
        raise
    _held[folder] = file
    try:
        yield
    finally:
        os.close(_held.pop(folder))


def owner_of(folder: str | os.PathLike) -> RunId | None:
    """The run that trains in `folder`, or was the last to; `None` when nobody left a name."""
    folder = Path(folder).resolve()
    if folder in _held:  # to open the file again, and close it, would give up this process's lock
        content = _read(_held[folder])
    else:
        try:
            content = json.loads((folder / OWNER_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
    run = run_of(content)
    return run if run.id else None


def own(folder: str | os.PathLike, run: RunId) -> None:
    """Write that `run`, in this process, owns the folder that it has locked."""
    file = _held.get(Path(folder).resolve())
    if file is not None:
        text = json.dumps({**asdict(run), "pid": os.getpid(), "host": socket.gethostname()}, indent=1) + "\n"
        os.pwrite(file, text.encode(), 0)
        os.ftruncate(file, len(text.encode()))
        os.fsync(file)


def _read(file: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(file, 1 << 20, 0))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
