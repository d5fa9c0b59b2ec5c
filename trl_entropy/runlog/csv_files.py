"""CSV: a column for each metric, or an export of TensorBoard (`Wall time,Step,Value`) or W&B (`run - metric`)."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

from .json_files import read_text
from .records import Points, Problem, RunLogError, as_step


_BAND = re.compile(r"__(MIN|MAX)$")  # W&B's columns for the band around a line
_STEP = re.compile(r"(.*[\W_])?steps?", re.IGNORECASE)  # `Training step`, the axis that a W&B panel was given
_NOT_METRICS = ("", "run", "run_name", "timestamp", "_timestamp")
_NO_NUMBER = ("", "nan", "null", "none", "inf", "-inf", "infinity", "-infinity")


def read_csv(path: Path) -> tuple[dict[str, Points], list[Problem]]:
    """The points of each run in a CSV file, by run name; '' where the file names none.

    The separator is a comma, a semicolon (with decimal commas or points) or a tab, whichever the header has most of.

    Raises:
        RunLogError: If there is no header with a step column, or no row with a step.
    """
    text, problems = read_text(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    header = [name.strip() for name in next(rows, [])]
    step_column = next((i for i, name in enumerate(header) if " - " not in name and _STEP.fullmatch(name)), None)
    if step_column is None:
        raise RunLogError(
            f"{path}:1: no column named step. Found: {', '.join(map(repr, header[:12]))}. "
            "Accepted: a name whose last word is step, such as global_step or Training step."
        )
    columns = _columns(path, header, step_column)
    run_column = next((i for i, name in enumerate(header) if name.lower() in ("run", "run_name")), None)
    runs: dict[str, Points] = {}
    try:
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            step = as_step(_number(cells[step_column], separator)) if len(cells) > step_column else None
            if step is None or len(cells) > len(header):
                shown = f"{len(cells)} cells under {len(header)} columns" if step is not None else "no step"
                problems.append(Problem(path, rows.line_num, f"{shown}; row skipped"))
                continue
            if len(cells) < len(header):
                text = f"{len(cells)} of {len(header)} cells; the rest is missing"
                problems.append(Problem(path, rows.line_num, text))
            own = cells[run_column] if run_column is not None and len(cells) > run_column else ""
            for i, (run, key) in columns.items():
                value = _number(cells[i], separator) if i < len(cells) else None
                if value is not None:
                    runs.setdefault(run or own, []).append((step, {key: value}))
                elif i < len(cells) and cells[i].strip().lower() not in _NO_NUMBER:
                    problems.append(Problem(path, rows.line_num, f"{cells[i][:40]!r} in {header[i]!r} is no number"))
    except csv.Error as error:
        problems.append(Problem(path, rows.line_num, f"not CSV ({error}); the rest was not read"))
    if not runs:
        first = f" First problem: {problems[0]}." if problems else ""
        raise RunLogError(f"{path}: no row has a step and a number.{first}")
    return runs, problems


def _columns(path: Path, header: list[str], step_column: int) -> dict[int, tuple[str, str]]:
    """The run and the metric of each column that holds one."""
    found: dict[int, tuple[str, Any]] = {}
    if {name.lower() for name in header} == {"wall time", "step", "value"}:  # the file's name is the metric
        key = re.sub(r"^.*tag-", "", path.stem).replace("train_", "", 1)
        return {i: ("", key) for i, name in enumerate(header) if name.lower() == "value"}
    for i, name in enumerate(header):
        run, _, key = name.rpartition(" - ")
        if i != step_column and not _BAND.search(name) and name.lower() not in _NOT_METRICS and key != "_step":
            found[i] = (run, key)
    return found


def _number(cell: str, separator: str) -> float | None:
    try:
        value = float(cell.replace(",", ".") if separator == ";" else cell)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None
