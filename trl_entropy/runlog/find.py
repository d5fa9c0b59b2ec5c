"""From a path to runs: which files of a folder are read, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from .csv_files import read_csv
from .folder import LAW_FILE, STEP_KEYS, candidates, is_run, may_be_run
from .json_files import read_jsonl, read_object, read_trainer_state
from .records import Problem, Run, RunLogError, as_step, collect
from .tensorboard import read_events
from .trackio import read_trackio
from .wandb import read_wandb


T = TypeVar("T")
Points = list[tuple[int, dict[str, Any]]]
_ACCEPTED = (
    "a run's folder, trainer_state.json, *.jsonl, *.csv, events.out.tfevents.* (TensorBoard), *.wandb (W&B offline), "
    "*.db (trackio)"
)


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

    A folder with a run's own files (`metrics.jsonl`, a trainer's state, event files, ...) is that run. Without them,
    the folders in it that hold a log are the runs; one of them that cannot be read is a problem of the first.

    Args and errors as in [`read_run`]. What is damaged is in each run's `problems`; the rest was read.
    """
    path = Path(path)
    if not path.exists():
        raise RunLogError(f"{path}: no such file or folder. Accepted: {_ACCEPTED}.")
    if path.is_file():
        named, problems = read_points(path)
        return _runs_of(named, path, problems)
    below = [] if is_run(path) else sorted(p for p in path.iterdir() if may_be_run(p) and (is_run(p) or candidates(p)))
    if not below:
        if not (is_run(path) or candidates(path)):
            raise RunLogError(f"{path}: no log of a run in this folder. Accepted: {_ACCEPTED}.")
        return _read_folder(path)
    runs: list[Run] = []
    failed: list[tuple[Path, RunLogError]] = []
    for folder in below:
        try:
            runs += _read_folder(folder)
        except RunLogError as error:
            failed.append((folder, error))
    if not runs:
        raise RunLogError(" ".join(str(error) for _, error in failed))
    runs[0].problems += [_problem(folder, error) for folder, error in failed]
    return runs


def _runs_of(named: dict[str, Points], path: Path, problems: Iterable[Problem]) -> list[Run]:
    kept = list(problems)
    runs = [Run(name or _name_of(path), path, collect(points)) for name, points in named.items()]
    for run in runs:
        run.problems = list(kept)
    return runs


def read_points(path: Path) -> tuple[dict[str, Points], list[Problem]]:
    """The points of each run in one file, by run name ('' where the file names none).

    Raises:
        RunLogError: If the file's kind is unknown, it cannot be opened, or nothing in it can be used.
    """
    try:
        return _points_by_kind(path)
    except OSError as error:
        raise RunLogError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _points_by_kind(path: Path) -> tuple[dict[str, Points], list[Problem]]:
    if ".tfevents." in path.name:
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
        step = next((s for s in (as_step(row.get(k)) for k in STEP_KEYS) if s is not None), None)
        if step is None:
            problems.append(Problem(path, line, "no step in this entry; skipped"))
            continue
        found += 1
        figures = {k: v for k, v in row.items() if k not in STEP_KEYS}
        runs.setdefault(str(row.get("run") or row.get("benchmark") or ""), []).append((step, figures))
    if not found:
        raise RunLogError(f"{path}: no entry has a step. Accepted keys: {', '.join(STEP_KEYS)}.")
    return runs, problems


def _read_folder(folder: Path) -> list[Run]:
    """The run of a folder, or the runs that the one file with its metrics holds."""
    run = Run(_name_of(folder), folder)
    for paths in candidates(folder):
        named: dict[str, Points] = {}
        for path in paths:
            for name, points in (_try(run, path, lambda path=path: _points_of(run, path)) or {}).items():
                named.setdefault(name, []).extend(points)
        if len(named) > 1:  # whose the folder's other files are, nobody knows
            return _runs_of(named, paths[-1], run.problems)
        if named:
            run.source, run.metrics = paths[-1], collect(next(iter(named.values())))
            break
    pairs = folder / LAW_FILE
    if pairs.is_file():
        named = _try(run, pairs, lambda: _points_of(run, pairs)) or {}
        if len(named) > 1 and not run.metrics:
            return _runs_of(named, pairs, run.problems)
        if named:
            _add_pairs(run, pairs, named)
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
    return [run]


def _points_of(run: Run, path: Path) -> dict[str, Points]:
    named, problems = read_points(path)
    run.problems += problems
    return named


def _add_pairs(run: Run, path: Path, named: dict[str, Points]) -> None:
    """Entropy and reward measured together by an evaluation: the law's own points, under `law_pairs/`.

    Of several runs or benchmarks in the file, those that are named for this folder, else the first.
    """
    own = [name for name in named if run.name in re.split(r"[/ ]", name)]
    chosen = (own or list(named))[0]
    if len(named) > 1:
        text = f"several runs or benchmarks ({', '.join(named)}); {chosen!r} is used, give the file itself for each"
        run.problems.append(Problem(path, None, text))
    run.metrics.update(collect((step, {f"law_pairs/{k}": v for k, v in row.items()}) for step, row in named[chosen]))


def _add_rows(run: Run, path: Path, attribute: str) -> None:
    rows, problems = read_jsonl(path)
    run.problems += problems
    kept = [row for _, row in rows if isinstance(row.get("step"), int) and as_step(row["step"]) is not None]
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
