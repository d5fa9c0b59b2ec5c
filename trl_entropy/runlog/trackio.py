"""trackio's database: SQLite, one row a log."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from .records import Points, Problem, RunLogError, logged_step


def read_trackio(path: Path) -> tuple[dict[str, Points], list[Problem]]:
    """The points of each run in a project's database, by run name, each at its [`logged_step`].

    Raises:
        RunLogError: If the file is no database of trackio's or holds no metrics.
    """
    runs: dict[str, Points] = {}
    problems: list[Problem] = []
    try:  # read only: a run may be writing
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT id, run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise RunLogError(f"{path}: not a trackio database ({error}).") from error
    for number, name, own, text in rows:
        try:
            entry = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            entry = None
        if isinstance(entry, dict) and (step := logged_step(entry, own)) is not None:
            runs.setdefault(str(name), []).append((step, entry))
        else:
            problems.append(Problem(path, None, f"row {number} has no step or no numbers; skipped"))
    if not runs:
        raise RunLogError(f"{path}: this trackio database holds no metrics.")
    return runs, problems
