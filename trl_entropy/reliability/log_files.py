"""The logs that a run writes line by line into its folder, and what becomes of them when a run begins or resumes.

Nothing that was written is lost. A fresh run sets aside what an earlier one left: `metrics.jsonl` becomes
`metrics-1.jsonl`, and so on. A run that resumes from step s moves the lines of later steps, which it will do again, to
`metrics.abandoned.jsonl`, so that the log has every step once.
"""

import json
import os
from itertools import count
from pathlib import Path

from ..durable import append_lines, write_whole


METRICS_FILE = "metrics.jsonl"
TOKEN_MAP_FILE = "token_map.jsonl"
DYNAMICS_FILE = "entropy_dynamics.jsonl"
LOG_FILES = (METRICS_FILE, TOKEN_MAP_FILE, DYNAMICS_FILE)


def make_room(folder: str | os.PathLike, step: int) -> None:
    """Prepare the logs in `folder` for a run that goes on from optimizer step `step`, 0 for a fresh one."""
    for name in LOG_FILES:
        path = Path(folder) / name
        if path.exists() and step:
            _abandon_after(path, step)
        elif path.exists():
            aside = (path.with_stem(f"{path.stem}-{number}") for number in count(1))
            path.rename(next(place for place in aside if not place.exists()))


def _abandon_after(path: Path, step: int) -> None:
    """Move the lines of `path` that belong to steps after `step`, or to none since they were cut off, out of it."""
    kept, abandoned = [], []
    for line in path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n"):
        (kept if _step(line, beyond=step + 1) <= step else abandoned).append(line)
    if abandoned:
        append_lines(path.with_stem(f"{path.stem}.abandoned"), abandoned)
        write_whole(path, "".join(line + "\n" for line in kept))


def _step(line: str, beyond: int) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return beyond
