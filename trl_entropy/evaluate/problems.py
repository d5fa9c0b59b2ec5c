"""From a benchmark or a file to a list of problems. Reads everything before any model is loaded."""

import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..rewards import gold_answer
from .benchmarks import Benchmark
from .preflight import first_line
from .sampling import Prompt


if TYPE_CHECKING:
    from ..tasks import Puzzle

logger = logging.getLogger(__name__)
FORMATS = (".json", ".jsonl", ".parquet", ".csv")


@dataclass(frozen=True)
class Problem:
    """One problem: `id`, what is asked (`prompt`), its `gold` answer, and what else the grader needs (`extra`)."""

    id: str
    prompt: Prompt
    gold: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_problems(benchmark: Benchmark, data: str | None = None, limit: int | None = None) -> list[Problem]:
    """The problems of a benchmark.

    Args:
        benchmark: columns, split and prompt.
        data: a local file (JSON, JSONL, Parquet, CSV) or a hub id to read instead of the benchmark's own.
        limit: the first so many problems only.

    A question that is a chat is asked as it stands; the benchmark's prompt is put around a text. A row without a
    question or without an answer (NaN, "N/A" and an object are none) is left out, and a warning counts such rows and
    names the first.

    Raises:
        FileNotFoundError: if `data` looks like a file and is none.
        ValueError: for a missing column (it lists those that are there), a set without a usable row, a file that
            cannot be read, or a hub data set that cannot be reached.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    if benchmark.grader == "countdown":
        from ..tasks import puzzles

        problems = [puzzle_problem(puzzle) for puzzle in puzzles(benchmark.split)]  # type: ignore[arg-type]
    else:
        source = data or benchmark.hub_id
        problems = _from_rows(_rows(source, benchmark), benchmark, source)
    return problems[:limit]


def puzzle_problem(puzzle: "Puzzle") -> Problem:
    """A countdown puzzle as a problem of the evaluator."""
    return Problem(
        id=f"{' '.join(map(str, puzzle.numbers))} -> {puzzle.target}",
        prompt=puzzle.prompt,
        gold=str(puzzle.target),
        extra={"numbers": list(puzzle.numbers), "target": puzzle.target},
    )


def _from_rows(rows: Sequence[Mapping[str, Any]], benchmark: Benchmark, source: str) -> list[Problem]:
    if not rows:
        raise ValueError(f"{source} has no rows.")
    columns = dict.fromkeys(name for row in rows for name in row)
    question = _column(columns, benchmark.problem_columns, "problem", source)
    answer = _column(columns, benchmark.answer_columns, "answer", source)
    problems, without = [], []
    for index, row in enumerate(rows):
        gold, asked = gold_answer(row.get(answer)), _asked(row.get(question), benchmark.prompt)
        if asked is None or not gold.strip():
            without.append(index)
            continue
        name = row.get("id", row.get("unique_id", index))
        # Some sets repeat an id; the index keeps them apart.
        problems.append(Problem(f"{index}:{name}", asked, gold))
    if not problems:
        raise ValueError(f"{source}: none of its {len(rows)} rows has both a {question!r} and an {answer!r}.")
    if without:
        first = ", ".join(map(str, without[:5])) + (", ..." if len(without) > 5 else "")
        logger.warning(
            f"{source}: {len(without)} of {len(rows)} rows have no {question!r} or no {answer!r} and are left out "
            f"(row {first}, counted from 0)."
        )
    return problems


def _asked(question: Any, template: str) -> Prompt | None:
    """What is asked: a text in the template, or a chat that waits for its answer; None for anything else."""
    if isinstance(question, str):
        return template.format(problem=question) if question.strip() else None
    chat = question if isinstance(question, list) else []
    is_chat = all(isinstance(message, dict) and message.get("role") and message.get("content") for message in chat)
    if not chat or not is_chat or chat[-1]["role"] == "assistant":
        return None
    # Parquet gives every message the union of all keys
    return [{key: value for key, value in message.items() if value is not None} for message in chat]


def _column(columns: Iterable[str], names: Iterable[str], role: str, source: str) -> str:
    names = list(names)
    for name in names:
        if name in columns:
            return name
    raise ValueError(
        f"{source} has no {role} column named {' or '.join(map(repr, names))}; its columns are "
        f"{', '.join(map(repr, columns))}. Name it with --{role}-column."
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

    try:
        return list(load_dataset(source, benchmark.config, split=benchmark.split))  # type: ignore[arg-type]
    except (OSError, ValueError) as error:  # no network, no such data set, configuration or split
        raise ValueError(
            f"The data set {source!r} cannot be read from the Hub: {first_line(error)}. Check its name, --split and "
            "--dataset-config, and the network; without one, give a local copy with --dataset FILE."
        ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON (a list of objects), JSONL, Parquet or CSV file. A byte order mark is no part of the text.

    Raises:
        ValueError: for a file that is not what its name says; it names the file and, in text, the line.
    """
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path).to_pylist()
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {first_line(error)}.") from error
    if path.suffix == ".json":
        rows = _json(path, None, text)
    else:
        # Lines end in a newline alone: JSON may hold other line separators, U+2028 say, inside its strings
        lines = enumerate(text.split("\n"), 1)
        rows = [_json(path, number, line) for number, line in lines if line.strip()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of objects, one a problem.")
    return rows


def _json(path: Path, line: int | None, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        number = line if line is not None else getattr(error, "lineno", 1)
        raise ValueError(f"{path}:{number} is not valid JSON: {first_line(error)}.") from error
