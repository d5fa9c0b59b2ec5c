"""Which files of a folder hold a run's metrics, and whether the folder is a run at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .records import as_step


LAW_FILE = "entropy_reward.jsonl"
STEP_KEYS = ("step", "global_step", "train/global_step", "_step")
_OWN = ("metrics.jsonl", "trainer_state.json", LAW_FILE, "token_map.jsonl", "entropy_dynamics.jsonl")
_OWN_PATTERNS = ("checkpoint-*/trainer_state.json", "events.out.tfevents.*", "*.wandb")
_LOG_FOLDERS = ("runs", "logs")  # where transformers and others put event files, a folder a start
_NOT_RUNS = re.compile(r"checkpoint-\d+|runs|logs|wandb")
# Beside a run's metrics and no metrics themselves: what it kept, and what an earlier run in the folder left
_OTHER_JSONL = re.compile(r"(entropy_reward|token_map|entropy_dynamics|samples|metrics-\d+|\w+\.abandoned)\.jsonl")


def is_run(folder: Path) -> bool:
    """Whether a folder holds files that only a run's own folder has."""
    return any((folder / name).is_file() for name in _OWN) or any(any(folder.glob(p)) for p in _OWN_PATTERNS)


def may_be_run(path: Path) -> bool:
    """Whether a path inside a folder of runs may be one of them: a folder, and none of those that a run has inside."""
    return path.is_dir() and not _NOT_RUNS.fullmatch(path.name)


def candidates(folder: Path) -> list[list[Path]]:
    """The files of a folder that may hold a run's metrics, best first; those of one list belong together."""
    checkpoints = sorted(
        (p for p in folder.glob("checkpoint-*/trainer_state.json") if re.search(r"-(\d+)$", p.parent.name)),
        key=lambda p: int(p.parent.name.rpartition("-")[2]),
        reverse=True,
    )
    first = [folder / "metrics.jsonl", folder / "trainer_state.json"]
    single = [p for p in (*first, *checkpoints) if p.is_file()]
    events = _events(folder)
    others = [*sorted(folder.glob("*.wandb")), *sorted(folder.glob("*.csv")), *sorted(folder.glob("*.db"))]
    others += [p for p in sorted(folder.glob("*.jsonl")) if p not in single and _has_steps(p)]
    return [*([p] for p in single), *([events] if events else []), *([p] for p in others)]


def _events(folder: Path) -> list[Path]:
    """The event files of one run, which writes a new one on each resume; not those of other runs below it."""
    found = [*folder.glob("events.out.tfevents.*")]
    for name in _LOG_FOLDERS:
        for path in (folder / name).glob("**/events.out.tfevents.*"):
            between = [parent for parent in path.parents if folder / name in parent.parents]
            if not any((parent / own).is_file() for parent in between for own in _OWN):
                found.append(path)
    return sorted(found)


def _has_steps(path: Path, lines: int = 20) -> bool:
    """Whether one of the first lines of a JSONL file is an object with a step."""
    if _OTHER_JSONL.fullmatch(path.name):
        return False
    try:
        with path.open("rb") as file:
            for line in (file.readline(1 << 20) for _ in range(lines)):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict) and any(as_step(row.get(key)) is not None for key in STEP_KEYS):
                    return True
    except OSError:
        pass
    return False
