"""From a benchmark or a file to a list of problems. Reads everything before any model is loaded."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..rewards import gold_answer
from .benchmarks import Benchmark


FORMATS = (".json", ".jsonl", ".parquet", ".csv")


@dataclass(frozen=True)
class Problem:
    """One problem: `id`, the text asked (`prompt`), its `gold` answer, and what else the grader needs (`extra`)."""

    id: str
    prompt: str
    gold: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_problems(benchmark: Benchmark, data: str | None = None, limit: int | None = None) -> list[Problem]:
    """The problems of a benchmark.

    Args:
        benchmark: columns, split and prompt.
        data: a local file (JSON, JSONL, Parquet, CSV) or a hub id to read instead of the benchmark's own hub dataset.
        limit: the first so many problems only, >= 1.

    Raises:
        FileNotFoundError: if `data` looks like a file and is none.
        ValueError: for a missing column (it lists those that are there), an empty set, an empty answer.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    if benchmark.grader == "countdown":
        problems = _countdown(benchmark.split)
    else:
        source = data or benchmark.hub_id
        problems = _from_rows(_rows(source, benchmark), benchmark, source)
    return problems[:limit]


def _countdown(split: str) -> list[Problem]:
    from ..tasks import puzzles

    return [
        Problem(
            id=f"{' '.join(map(str, puzzle.numbers))} -> {puzzle.target}",
            prompt=puzzle.prompt,
            gold=str(puzzle.target),
            extra={"numbers": list(puzzle.numbers), "target": puzzle.target},
        )
        for puzzle in puzzles(split)  # type: ignore[arg-type]
    ]


def _from_rows(rows: Sequence[Mapping[str, Any]], benchmark: Benchmark, source: str) -> list[Problem]:
    if not rows:
        raise ValueError(f"{source} has no rows.")
    question = _column(rows[0], benchmark.problem_columns, "problem", source)
    answer = _column(rows[0], benchmark.answer_columns, "answer", source)
    problems = []
    for index, row in enumerate(rows):
        gold = row[answer]
        gold = ", ".join(map(str, gold)) if isinstance(gold, (list, tuple)) else "" if gold is None else str(gold)
        text = row[question]
        if not isinstance(text, str) or not text.strip() or not gold.strip():
            raise ValueError(f"{source}, row {index}: an empty {question!r} or {answer!r}. Every problem needs both.")
        name = row.get("id", row.get("unique_id", index))
        # Some sets repeat an id; the index keeps them apart.
        problems.append(Problem(f"{index}:{name}", benchmark.prompt.format(problem=text), gold_answer(gold)))
    return problems


def _column(row: Mapping[str, Any], names: Iterable[str], role: str, source: str) -> str:
    names = list(names)
    for name in names:
        if name in row:
            return name
    raise ValueError(
        f"{source} has no {role} column named {' or '.join(map(repr, names))}; its columns are "
        f"{', '.join(map(repr, row))}. Name it with --{role}-column."
    )


def _rows(source: str, benchmark: Benchmark) -> list[dict[str, Any]]:
    path = Path(source).expanduser()
    if path.suffix in FORMATS:
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {source}.")
        return read_rows(path)
    if path.exists() or source.startswith((".", "/", "~")):
        raise ValueError(
            f"{source} is not a {', '.join(FORMATS)} file. Give one of those, or a dataset id of the Hub."
        )
    from datasets import load_dataset

    return list(load_dataset(source, benchmark.config, split=benchmark.split))  # type: ignore[arg-type]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON (a list of objects), JSONL, Parquet or CSV file."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        return list(csv.DictReader(text.splitlines(keepends=True)))
    try:
        rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of objects, one a problem.")
    return rows
