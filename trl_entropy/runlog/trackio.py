"""trackio's database: SQLite, one row a log, read without trackio."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from .records import Problem, RunLogError, logged_step


def read_trackio(path: Path) -> tuple[dict[str, list[tuple[int, dict[str, Any]]]], list[Problem]]:
    """The points of each run in a project's database, by run name, each at its [`logged_step`].

    Raises:
        RunLogError: If the file is no database of trackio's or holds no metrics.
    """
    runs: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    problems: list[Problem] = []
    try:
        # Read only: a run may be writing
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            for number, name, step, text in connection.execute(
                "SELECT id, run_name, step, metrics FROM metrics ORDER BY id"
            ):
                try:
                    figures = json.loads(text)
                except (ValueError, TypeError, RecursionError) as error:
                    problems.append(Problem(path, None, f"row {number} is not JSON ({error}); skipped"))
                    continue
                place = logged_step(figures, step) if isinstance(figures, dict) else None
                if place is None:
                    problems.append(Problem(path, None, f"row {number} has no step or no figures; skipped"))
                    continue
                runs.setdefault(str(name), []).append((place, figures))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RunLogError(f"{path}: not a trackio database ({error}).") from error
    if not runs:
        raise RunLogError(f"{path}: this trackio database holds no metrics.")
    return runs, problems
