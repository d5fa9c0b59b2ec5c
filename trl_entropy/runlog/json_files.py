"""JSON and JSONL, damaged or not: what can be read is read, and what cannot is named with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .records import Problem, RunLogError


def read_text(path: Path) -> tuple[str, list[Problem]]:
    """A text file; bytes that are not UTF-8 are replaced, and named.

    Raises:
        RunLogError: If the file is empty, is not text, or cannot be opened.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RunLogError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if not raw.strip():
        raise RunLogError(f"{path}: the file is empty.")
    if b"\0" in raw[:4096]:
        raise RunLogError(f"{path}: this is a binary file, not a log of text.")
    try:
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return raw.decode("utf-8-sig", errors="replace"), [Problem(path, line, "not UTF-8; such bytes were replaced")]


def read_jsonl(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[Problem]]:
    """The objects of a JSONL file with their line numbers, and a problem for every line that is none.

    Raises:
        RunLogError: If no line holds an object.
    """
    text, problems = read_text(path)
    rows: list[tuple[int, dict[str, Any]]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            cut = number == len(lines)  # a file ends in a newline, unless its writer was stopped
            cut = cut and isinstance(error, json.JSONDecodeError)
            what = "the line is cut off" if cut else f"not JSON ({_reason(error)})"
            problems.append(Problem(path, number, f"{what}; line skipped"))
            continue
        if isinstance(row, dict):
            rows.append((number, row))
        else:
            problems.append(Problem(path, number, f"a JSON {type(row).__name__}, not an object; line skipped"))
    if not rows:
        first = f" First problem: {problems[0]}." if problems else ""
        raise RunLogError(f"{path}: no line holds a JSON object.{first}")
    return rows, problems


def read_trainer_state(path: Path) -> tuple[list[dict[str, Any]], list[Problem]]:
    """`log_history` of a `trainer_state.json`.

    Raises:
        RunLogError: If the file is damaged or there is no log history in it.
    """
    history = read_object(path).get("log_history")
    if not isinstance(history, list):
        raise RunLogError(
            f"{path}: no list named 'log_history'. A trainer_state.json of transformers' Trainer has one."
        )
    entries = [entry for entry in history if isinstance(entry, dict)]
    skipped = len(history) - len(entries)
    return entries, [Problem(path, None, f"{skipped} log entries are no objects; skipped")] if skipped else []


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object.

    Raises:
        RunLogError: If it holds anything else.
    """
    text, _ = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunLogError(f"{path}:{getattr(error, 'lineno', 1)}: not JSON ({_reason(error)}).") from error
    if not isinstance(value, dict):
        raise RunLogError(f"{path}: a JSON {type(value).__name__}, not an object.")
    return value


def flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """An entry with what other trainers nest under names of their own; `data` is a wrapper and names nothing.

    >>> flat({"step": 1, "train": {"entropy": 0.5}, "data": {"actor/lr": 1.0}})
    {'step': 1, 'train/entropy': 0.5, 'actor/lr': 1.0}
    """
    found: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict) and prefix.count("/") < 3:
            found |= flat(value, prefix if key == "data" else f"{prefix}{key}/")
        else:
            found[prefix + key] = value
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else "an integer of thousands of digits"
