"""From a path to runs: which files of a folder are read, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from .csv_files import read_csv
from .json_files import read_jsonl, read_object, read_trainer_state
from .model import Problem, Run, RunLogError, collect, is_number
from .tensorboard import read_events
from .trackio import read_trackio
from .wandb import read_wandb


T = TypeVar("T")
Points = list[tuple[int, dict[str, Any]]]
_ACCEPTED = (
    "a run's folder, trainer_state.json, *.jsonl, *.csv, events.out.tfevents.* (TensorBoard), *.wandb (W&B offline), "
    "*.db (trackio)"
)
_STEP_KEYS = ("step", "global_step", "train/global_step", "_step")


def read_run(path: str | Path) -> Run:
    """The one run at a path.

    Args:
        path: A run's folder, or one of its files: a `trainer_state.json`, a JSONL or CSV with a step in each row, a
            TensorBoard event file, a W&B offline file, a trackio database.

    Raises:
        RunLogError: If nothing can be read there, or several runs are.
    """
    runs = read_runs(path)
    if len(runs) != 1:
        raise RunLogError(f"{path}: {len(runs)} runs ({', '.join(r.name for r in runs)}); give one of them.")
    return runs[0]


def read_runs(path: str | Path) -> list[Run]:
    """Every run at a path: of a file that holds several, all; of a folder of run folders, each.

    Args and errors as in [`read_run`]. What is damaged is in each run's `problems`; the rest was read.
    """
    path = Path(path)
    if not path.exists():
        raise RunLogError(f"{path}: no such file or folder. Accepted: {_ACCEPTED}.")
    if path.is_file():
        named, problems = read_points(path)
        return [
            Run(name or _name_of(path), path, collect(points), problems=list(problems))
            for name, points in named.items()
        ]
    if _candidates(path) or any(path.glob("*.jsonl")):
        return [_read_folder(path)]
    below = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _candidates(folder)]
    if not below:
        raise RunLogError(f"{path}: no log of a run in this folder. Accepted: {_ACCEPTED}.")
    return [_read_folder(folder) for folder in below]


def read_points(path: Path) -> tuple[dict[str, Points], list[Problem]]:
    """The points of each run in one file, by run name ('' where the file names none).

    Raises:
        RunLogError: If the file's kind is unknown or nothing in it can be used.
    """
    name = path.name
    if ".tfevents." in name:
        points, problems = read_events(path)
        return {"": points}, problems
    if path.suffix == ".wandb":
        points, problems = read_wandb(path)
        return {"": points}, problems
    if path.suffix == ".db":
        return read_trackio(path)
    if path.suffix == ".csv":
        return read_csv(path)
    if path.suffix == ".json":
        entries, problems = read_trainer_state(path)
        return _with_steps(path, ((None, entry) for entry in entries), problems)
    if path.suffix == ".jsonl":
        rows, problems = read_jsonl(path)
        return _with_steps(path, rows, problems)
    raise RunLogError(f"{path}: unknown kind of file. Accepted: {_ACCEPTED}.")


def _with_steps(
    path: Path, rows: Iterable[tuple[int | None, dict[str, Any]]], problems: list[Problem]
) -> tuple[dict[str, Points], list[Problem]]:
    runs: dict[str, Points] = {}
    problems = list(problems)
    found = 0
    for line, row in rows:
        key = next((k for k in _STEP_KEYS if is_number(row.get(k)) and abs(row[k]) < 2**53), None)
        if key is None:
            problems.append(Problem(path, line, "no step in this entry; skipped"))
            continue
        found += 1
        figures = {k: v for k, v in row.items() if k not in _STEP_KEYS}
        runs.setdefault(str(row.get("run") or row.get("benchmark") or ""), []).append((int(row[key]), figures))
    if not found:
        raise RunLogError(f"{path}: no entry has a step. Accepted keys: {', '.join(_STEP_KEYS)}.")
    return runs, problems


def _candidates(folder: Path) -> list[list[Path]]:
    """The files of a run's folder that hold its metrics, best first; those of one list belong together."""
    checkpoints = sorted(
        (p for p in folder.glob("checkpoint-*/trainer_state.json") if re.search(r"-(\d+)$", p.parent.name)),
        key=lambda p: int(p.parent.name.rpartition("-")[2]),
        reverse=True,
    )
    first = [folder / "metrics.jsonl", folder / "trainer_state.json"]
    single = [p for p in (*first, *checkpoints) if p.is_file()]
    events = sorted(folder.glob("**/events.out.tfevents.*"))  # one run writes several: a new one on each resume
    others = [*sorted(folder.glob("*.wandb")), *sorted(folder.glob("*.csv"))]
    return [*([p] for p in single), *([events] if events else []), *([p] for p in others)]


def _read_folder(folder: Path) -> Run:
    run = Run(_name_of(folder), folder)
    for paths in _candidates(folder):
        points: Points = []
        for path in paths:
            points += _try(run, path, lambda path=path: _points_of(run, path)) or []
        if points:
            run.source, run.metrics = paths[-1], collect(points)
            break
    pairs = folder / "entropy_reward.jsonl"
    if pairs.is_file():
        _try(run, pairs, lambda: _add_pairs(run, pairs))
    for name, attribute in (("token_map.jsonl", "token_map"), ("entropy_dynamics.jsonl", "dynamics")):
        path = folder / name
        if path.is_file():
            _try(run, path, lambda path=path, attribute=attribute: _add_rows(run, path, attribute))
    settings = folder / "settings.json"
    if settings.is_file():
        _try(run, settings, lambda: run.settings.update(read_object(settings)))
    if not (run.metrics or run.token_map or run.dynamics):
        details = " ".join(str(problem) for problem in run.problems)
        raise RunLogError(f"{folder}: nothing in this folder could be read. {details}".rstrip())
    return run


def _points_of(run: Run, path: Path) -> Points:
    named, problems = read_points(path)
    run.problems += problems
    return [point for points in named.values() for point in points]


def _add_pairs(run: Run, path: Path) -> None:
    """Entropy and reward measured together by an evaluation: the law's own points, under `law_pairs/`."""
    named, problems = read_points(path)
    run.problems += problems
    first = next(iter(named))
    if len(named) > 1:
        text = f"several benchmarks ({', '.join(named)}); {first!r} is used here, give the file itself to fit each"
        run.problems.append(Problem(path, None, text))
    run.metrics.update(collect((step, {f"law_pairs/{k}": v for k, v in row.items()}) for step, row in named[first]))


def _add_rows(run: Run, path: Path, attribute: str) -> None:
    rows, problems = read_jsonl(path)
    run.problems += problems
    kept = [row for _, row in rows if isinstance(row.get("step"), int)]
    if len(kept) < len(rows):
        run.problems.append(Problem(path, None, f"{len(rows) - len(kept)} lines have no whole step; skipped"))
    setattr(run, attribute, kept)


def _try(run: Run, path: Path, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except RunLogError as error:
        run.problems.append(_problem(path, error))
        return None


def _problem(path: Path, error: RunLogError) -> Problem:
    text = str(error).removeprefix(str(path))
    line = re.match(r":(\d+): ", text)
    return Problem(path, int(line[1]) if line else None, text[line.end() if line else 0 :].removeprefix(": "))


def _name_of(path: Path) -> str:
    path = path.resolve()
    if path.name in ("trainer_state.json", "metrics.jsonl", "entropy_reward.jsonl"):
        path = path.parent
    if re.fullmatch(r"checkpoint-\d+", path.name):
        path = path.parent
    return path.stem if path.is_file() else path.name
