"""Which folders are runs, and which of a run's files hold its metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .json_files import flat
from .records import as_step


LAW_FILE = "entropy_reward.jsonl"
STEP_KEYS = (
    "step", "global_step", "train/global_step", "trainer/global_step", "_step", "current_steps",
    "global_step/max_steps", "iteration",
)  # fmt: skip
_OWN = ("metrics.jsonl", "trainer_state.json", LAW_FILE, "token_map.jsonl")
_EVENTS = "events.out.tfevents.*"
_LOG_FOLDERS = ("runs", "logs")  # where transformers and others put event files, a folder a start
_NEVER = re.compile(r"checkpoint-\d+|wandb|\..*")
# Beside a run's metrics and no metrics themselves: what it kept, and what an earlier run in the folder left
_OTHER_JSONL = re.compile(r"(entropy_reward|token_map|entropy_dynamics|samples|metrics-\d+|\w+\.abandoned)\.jsonl")
_DEEPEST = 6


def is_run(folder: Path) -> bool:
    """Whether a folder holds files that only a run's own folder has."""
    return _has_own(folder) or any(folder.glob("checkpoint-*/trainer_state.json")) or bool(_events(folder))


def run_folders(folder: Path, depth: int = 0, logs_of_a_run: bool = False) -> Iterator[Path]:
    """The folders of runs at and below a folder, a run before the runs inside it.

    A folder without a run's own files whose subfolders hold no run is one if it has any log; evaluations beside a run,
    checkpoints and the event files in a run's `runs` and `logs` are none.
    """
    own = is_run(folder)
    if _has_own(folder) or (own and not logs_of_a_run):
        yield folder
    found = False
    for child in sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()) if depth < _DEEPEST else ():
        evaluation = own and not _has_log(child) and (child.name == "evaluation" or (child / "results.json").is_file())
        if not _NEVER.fullmatch(child.name) and not evaluation:
            for below in run_folders(child, depth + 1, logs_of_a_run or child.name in _LOG_FOLDERS):
                found = True
                yield below
    if not own and not found and not logs_of_a_run and candidates(folder):
        yield folder


def evaluations_beside(folder: Path) -> list[Path]:
    """The `results.json` of evaluations in a run's folder and in its `evaluation` and other subfolders."""
    found = [*folder.glob("results.json"), *folder.glob("*/results.json"), *folder.glob("evaluation/**/results.json")]
    return sorted({path for path in found if path.parent == folder or not _has_log(path.parent)})


def candidates(folder: Path) -> list[list[Path]]:
    """The files of a folder that may hold a run's metrics, best first; those of one list belong together."""
    checkpoints = [p for p in folder.glob("checkpoint-*/trainer_state.json") if re.search(r"-\d+$", p.parent.name)]
    checkpoints.sort(key=lambda p: int(p.parent.name.rpartition("-")[2]), reverse=True)
    single = [folder / "metrics.jsonl", folder / "trainer_state.json", *checkpoints]
    single = [p for p in single if p.is_file()]
    others = [*sorted(folder.glob("*.csv")), *sorted(folder.glob("*.db"))]
    others += [p for p in sorted(folder.glob("*.jsonl")) if p not in single and _has_steps(p)]
    events = _events(folder)
    return [*([p] for p in single), *([events] if events else []), *([p] for p in others)]


def logged_at(row: dict[str, Any]) -> float | None:
    """The step of a flat entry, by the first of the known names that has one."""
    return next((step for key in STEP_KEYS if (step := as_step(row.get(key))) is not None), None)


def _has_log(folder: Path) -> bool:
    return (folder / "metrics.jsonl").is_file()


def _has_own(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _OWN)


def _events(folder: Path) -> list[Path]:
    """The event files of one run, which writes a new one on each resume, in time; not those of other runs below it."""
    found = [*folder.glob(_EVENTS)]
    for name in _LOG_FOLDERS:
        for path in (folder / name).glob(f"**/{_EVENTS}"):
            between = [parent for parent in path.parents if folder / name in parent.parents]
            if not any(map(_has_own, between)):
                found.append(path)
    return sorted(found, key=lambda path: (*(int(n) for n in re.findall(r"tfevents\.(\d+)", path.name)), str(path)))


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
                if isinstance(row, dict) and logged_at(flat(row)) is not None:
                    return True
    except OSError:
        pass
    return False
