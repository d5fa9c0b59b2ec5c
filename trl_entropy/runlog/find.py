"""From a path to runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ..study.outcome import EVALUATIONS, SPEC
from .csv_files import read_csv
from .event_files import read_events
from .json_files import flat, read_jsonl, read_object, read_trainer_state
from .records import Points, Problem, Run, RunLogError, as_step, collect, readable, taken_up
from .run_files import LAW_FILE, STEP_KEYS, candidates, evaluations_beside, is_run, logged_at, run_folders
from .study_files import read_evaluations
from .trackio import read_trackio


T = TypeVar("T")
_ACCEPTED = (
    "a run's folder, trainer_state.json, *.jsonl, *.csv (W&B and TensorBoard export it), events.out.tfevents.* "
    "(TensorBoard), *.db (trackio)"
)


def read_run(path: str | Path) -> Run:
    """The one run at a path; of a run's folder, that run and not those inside it.

    Args:
        path: A run's folder, or one of its files: a `trainer_state.json`, a JSONL or CSV with a step in each row, a
            TensorBoard event file, a trackio database.

    Raises:
        RunLogError: If nothing can be read there, or several runs are.
    """
    path = Path(path)
    runs = _read_folder(path) if path.is_dir() and is_run(path) else read_runs(path)
    if len(runs) != 1:
        raise RunLogError(f"{path}: {len(runs)} runs ({', '.join(r.name for r in runs)}); give one of them.")
    return runs[0]


def read_runs(path: str | Path) -> list[Run]:
    """Every run at a path: of a file that holds several, all; of a folder, itself and every run below it.

    One of several runs that cannot be read is a problem of the first. What is damaged is in each run's `problems`; the
    rest was read. Args and errors as in [`read_run`].
    """
    path = Path(path)
    if not path.exists():
        raise RunLogError(f"{path}: no such file or folder. Accepted: {_ACCEPTED}.")
    if path.is_file():
        run = Run(_name_of(path), path)
        return _runs_of(_points_of(run, path), path, run)
    runs: list[Run] = []
    failed: list[tuple[Path, RunLogError]] = []
    for folder in run_folders(path):
        try:
            runs += _read_folder(folder)
        except RunLogError as error:
            failed.append((folder, error))
    if not runs:
        nothing = f"{path}: no log of a run in this folder. Accepted: {_ACCEPTED}."
        raise RunLogError(" ".join(str(error) for _, error in failed) or nothing)
    runs[0].problems += [_problem(folder, error) for folder, error in failed]
    return _told_apart(runs, path)


def _told_apart(runs: list[Run], root: Path) -> list[Run]:
    """Runs of one name in several folders are called by their folders too."""
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1 and root in run.source.parents and run.source.parent.name == run.name:
            run.name = readable("/".join(run.source.parent.relative_to(root).parts)) or run.name
    return runs


def _runs_of(named: dict[str, Points], path: Path, like: Run) -> list[Run]:
    runs = [Run(readable(name) or like.name, path, collect(points)) for name, points in named.items()]
    for run in runs:
        run.problems, run.resumed_at = list(like.problems), like.resumed_at
    return runs


def read_points(path: Path) -> tuple[dict[str, Points], list[Problem]]:
    """The points of each run in one file in the order of writing, by run name ('' where the file names none).

    Raises:
        RunLogError: If the file's kind is unknown, it cannot be opened, or nothing in it can be used.
    """
    try:
        if ".tfevents." in path.name:
            points, problems = read_events(path)
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
    except OSError as error:
        raise RunLogError(f"{path}: cannot be read ({error.strerror or error}).") from error
    hint = " Of W&B's offline file, export its charts as CSV." if path.suffix == ".wandb" else ""
    raise RunLogError(f"{path}: unknown kind of file. Accepted: {_ACCEPTED}.{hint}")


def _with_steps(
    path: Path, rows: Iterable[tuple[int | None, dict[str, Any]]], problems: list[Problem]
) -> tuple[dict[str, Points], list[Problem]]:
    runs: dict[str, Points] = {}
    problems = list(problems)
    for line, nested in rows:
        row = flat(nested)
        step = logged_at(row)
        if step is None:
            problems.append(Problem(path, line, "no step in this entry; skipped"))
            continue
        values = {k: v for k, v in row.items() if k not in STEP_KEYS}
        runs.setdefault(str(row.get("run") or row.get("benchmark") or ""), []).append((step, values))
    if not runs:
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
            return _runs_of(named, paths[-1], run)
        if named:
            points = next(iter(named.values()))
            if ".tfevents." in paths[-1].name or paths[-1].name == "metrics.jsonl":
                points, run.resumed_at = taken_up(points)
            run.source, run.metrics = paths[-1], collect(points)
            break
    pairs = folder / LAW_FILE
    if pairs.is_file():
        named = _try(run, pairs, lambda: _points_of(run, pairs)) or {}
        if len(named) > 1 and not run.metrics:
            return _runs_of(named, pairs, run)
        if named:
            _add_pairs(run, pairs, named)
    measured = folder / EVALUATIONS
    if measured.is_file() and (folder / SPEC).is_file():
        run.metrics.update(collect(_try(run, measured, lambda: read_evaluations(folder)) or ()))
    tokens, settings = folder / "token_map.jsonl", folder / "settings.json"
    if tokens.is_file():
        _try(run, tokens, lambda: _add_tokens(run, tokens))
    if settings.is_file():
        _try(run, settings, lambda: run.settings.update(read_object(settings)))
    for path in evaluations_beside(folder):
        _try(run, path, lambda path=path: run.evaluations.append(read_object(path)))
    if not (run.metrics or run.token_map):
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
    points = named[chosen]
    if all(row.get("source") == "heldout" for _, row in points):  # written while training, in its order
        points, _ = taken_up(points)
    run.metrics.update(collect((step, {f"law_pairs/{k}": v for k, v in row.items()}) for step, row in points))


def _add_tokens(run: Run, path: Path) -> None:
    rows, problems = read_jsonl(path)
    run.problems += problems
    kept = [(row["step"], row) for _, row in rows if isinstance(row.get("step"), int) and as_step(row["step"])]
    if len(kept) < len(rows):
        run.problems.append(Problem(path, None, f"{len(rows) - len(kept)} lines have no whole step; skipped"))
    run.token_map = [row for _, row in taken_up(kept)[0]]


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
    return readable(path.stem if path.is_file() else path.name)
