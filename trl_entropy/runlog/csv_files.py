"""CSV: a column for each metric, or an export of TensorBoard (`Wall time,Step,Value`) or W&B (`run - metric`)."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

from .json_files import read_text
from .records import Problem, RunLogError, as_step


_STEP_NAMES = ("step", "global_step", "_step", "train/global_step", "trainer/global_step")
_BAND = re.compile(r"__(MIN|MAX)$")  # W&B's columns for the band around a line


def read_csv(path: Path) -> tuple[dict[str, list[tuple[int, dict[str, Any]]]], list[Problem]]:
    """The points of each run in a CSV file, by run name; '' where the file names none.

    Raises:
        RunLogError: If there is no header with a step column, or no row with a step.
    """
    text, problems = read_text(path)
    rows = csv.reader(io.StringIO(text), strict=False)
    header = [name.strip() for name in next(rows, [])]
    step_column = next((i for name in _STEP_NAMES for i, h in enumerate(header) if h.lower() == name), None)
    if step_column is None:
        raise RunLogError(
            f"{path}:1: no column named step. Found: {', '.join(map(repr, header[:12]))}. "
            f"Accepted: {', '.join(_STEP_NAMES)}."
        )
    columns = _columns(path, header, step_column)
    run_column = next((i for i, name in enumerate(header) if name.lower() in ("run", "run_name")), None)
    runs: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            step = as_step(_number(row[step_column])) if len(row) > step_column else None
            if step is None or len(row) > len(header):
                shown = f"{len(row)} cells under {len(header)} columns" if step is not None else "no step"
                problems.append(Problem(path, rows.line_num, f"{shown}; row skipped"))
                continue
            if len(row) < len(header):
                problems.append(
                    Problem(path, rows.line_num, f"{len(row)} of {len(header)} cells; the rest is missing")
                )
            own = row[run_column] if run_column is not None and len(row) > run_column else ""
            for i, (run, key) in columns.items():
                value = _number(row[i]) if i < len(row) else None
                if value is not None:
                    runs.setdefault(run or own, []).append((step, {key: value}))
                elif i < len(row) and row[i].strip().lower() not in ("", "nan", "null", "none", "inf", "-inf"):
                    problems.append(Problem(path, rows.line_num, f"{row[i][:40]!r} in {header[i]!r} is no number"))
    except csv.Error as error:
        problems.append(Problem(path, rows.line_num, f"not CSV ({error}); the rest was not read"))
    if not runs:
        first = f" First problem: {problems[0]}." if problems else ""
        raise RunLogError(f"{path}: no row has a step and a number.{first}")
    return runs, problems


def _columns(path: Path, header: list[str], step_column: int) -> dict[int, tuple[str, str]]:
    """The run and the metric of each column that holds one."""
    if {name.lower() for name in header} == {
        "wall time",
        "step",
        "value",
    }:  # TensorBoard: the file's name is the metric
        key = re.sub(r"^.*tag-", "", path.stem)
        return {
            next(i for i, name in enumerate(header) if name.lower() == "value"): ("", key.replace("train_", "", 1))
        }
    found: dict[int, tuple[str, str]] = {}
    for i, name in enumerate(header):
        if (
            i == step_column
            or _BAND.search(name)
            or name.lower() in ("", "run", "run_name", "timestamp", "_timestamp")
        ):
            continue
        if name.endswith(" - _step"):
            continue
        run, separator, key = name.rpartition(" - ")
        found[i] = (run, key) if separator else ("", name)
    return found


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None
