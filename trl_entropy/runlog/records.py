"""What a run's files are read into."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from .. import TrlEntropyError
from .run_methods import MethodName, methods_of


# A tracker's own bookkeeping
_NOT_METRICS = frozenset({"global_step", "_step", "_timestamp", "_runtime"})


class RunLogError(TrlEntropyError, ValueError):
    """Nothing could be read. The message names the file, the line where there is one, and what would be accepted."""


@dataclass(frozen=True)
class Problem:
    """Something in a file that could not be used; the rest of the file was.

    Args:
        path: The file.
        line: Line number from 1; None where the file has no lines.
        message: What was found and what was done about it.
    """

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line is not None else str(self.path)
        return readable(f"{where}: {self.message}")


@dataclass
class Series:
    """One metric over training.

    Args:
        steps: Optimizer steps, ascending; half steps are kept as they are.
        values: One finite value a step.
    """

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.steps)


class Metrics(dict[str, Series]):
    """Series by key, in TRL's names. A tracker's name for a key, `train/entropy` say, finds it as well."""

    def __missing__(self, key: str) -> Series:
        if plain_key(key) == key:
            raise KeyError(key)
        return self[plain_key(key)]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or super().__contains__(plain_key(str(key)))

    def get(self, key: str, default: Any = None) -> Any:
        """The series of a key, or the default."""
        try:
            return self[key]
        except KeyError:
            return default


@dataclass
class Run:
    """One run, as far as its files could be read.

    Args:
        name: What to call it.
        source: The file its metrics came from.
        metrics: By key, in TRL's names.
        settings: Contents of `settings.json`, or empty.
        token_map: Lines of `token_map.jsonl`.
        evaluations: Contents of each `results.json` of `trl-entropy eval` beside the run.
        resumed_at: Steps from which it was taken up again below where its log had come to: what the log held from
            there on was abandoned, and is left out.
        problems: Everything that could not be used.
    """

    name: str
    source: Path
    metrics: Metrics = field(default_factory=Metrics)
    settings: dict[str, Any] = field(default_factory=dict)
    token_map: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    resumed_at: list[float] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def methods(self) -> tuple[MethodName, ...] | None:
        """The methods that are on, by the settings; empty for plain GRPO, None where nothing says."""
        return methods_of(self.settings)

    @property
    def method(self) -> str:
        """The methods' keys joined by `+`; `plain` without any, `unknown` where nothing says."""
        return "unknown" if self.methods is None else "+".join(method.key for method in self.methods) or "plain"

    def pairs(self, x: str, y: str) -> tuple[list[float], list[float], list[float]]:
        """Steps at which both metrics were logged, with their values.

        Raises:
            RunLogError: If one of them was never logged.
        """
        for key in (x, y):
            if key not in self.metrics:
                known = ", ".join(sorted(self.metrics)) or "none"
                raise RunLogError(f"{self.source}: metric {key!r} was never logged. Logged: {known}.")
        first, second = (dict(zip(s.steps, s.values, strict=True)) for s in (self.metrics[x], self.metrics[y]))
        steps = [step for step in first if step in second]
        return steps, [first[step] for step in steps], [second[step] for step in steps]


def unexpected(run: Run, error: Exception) -> Problem:
    """An error that nothing foresaw, as a problem of the run's file: one damaged run must not hide the others."""
    text = (str(error).strip().splitlines() or [""])[0]
    return Problem(Path(run.source), None, f"{type(error).__name__} ({text}); this run is left out")


def readable(text: str) -> str:
    r"""Text that can be written: a lone surrogate, of a damaged name, becomes a question mark.

    >>> readable("loss\ud800")
    'loss?'
    """
    return text.encode("utf-8", errors="replace").decode("utf-8")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that a finite float can hold, and not a bool."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def as_step(value: Any) -> float | None:
    """A logged step as a number, whole ones as integers; None for what can be no step: no number, or above 2^53.

    A text is a step where it is one number, or one of how many.

    >>> as_step(3.0), as_step(0.5), as_step("3/60"), as_step(1e300), as_step("x")
    (3, 0.5, 3, None, None)
    """
    match = re.fullmatch(r"\s*(\d{1,16}(?:\.\d+)?)\s*(?:/\s*\d+\s*)?", value) if isinstance(value, str) else None
    number = float(match[1]) if match else value
    if not is_number(number) or abs(number) >= 2**53:
        return None
    return int(number) if number == int(number) else number


def logged_step(entry: Mapping[str, Any], own: Any) -> float | None:
    """The optimizer step of a tracker's entry: `train/global_step` where it was logged, else the tracker's own step.

    A tracker counts entries, and two entries of one step, training's and an evaluation's say, are two of its steps.

    >>> logged_step({"train/global_step": 20}, own=7), logged_step({}, own=7)
    (20, 7)
    """
    step = as_step(entry.get("train/global_step"))
    return step if step is not None else as_step(own)


Points = list[tuple[float, dict[str, Any]]]


def taken_up(rows: Sequence[tuple[float, Any]]) -> tuple[list[tuple[float, Any]], list[float]]:
    """Rows of (step, anything) in the order of writing, without those that a resume abandoned, and where it resumed.

    A step below the ones before it is the first after a resume from an earlier checkpoint: rows at or above it that
    were written before belong to updates that the run does not have.

    >>> taken_up([(1, "a"), (2, "b"), (3, "c"), (2, "d")])
    ([(1, 'a'), (2, 'd')], [2])
    """
    kept: list[tuple[float, Any]] = []
    resumed: list[float] = []
    for step, row in rows:
        if kept and step < kept[-1][0]:
            resumed.append(step)
            while kept and kept[-1][0] >= step:
                kept.pop()
        kept.append((step, row))
    return kept, resumed


def collect(points: Iterable[tuple[float, Mapping[str, Any]]]) -> Metrics:
    """Series from (step, numbers) in any order; a step that was logged twice keeps its last value."""
    table: dict[str, dict[float, float]] = {}
    for step, entry in points:
        for key, value in entry.items():
            if is_number(value) and plain_key(key) not in _NOT_METRICS:
                table.setdefault(plain_key(key), {})[step] = float(value)
    return Metrics({key: Series(sorted(by), [by[s] for s in sorted(by)]) for key, by in table.items()})


def plain_key(key: str) -> str:
    """A metric's key without a tracker's prefix: TensorBoard and W&B show `train/entropy` for `entropy`.

    >>> plain_key("train/entropy"), plain_key("eval/reward")
    ('entropy', 'eval_reward')
    """
    key = readable(key).removeprefix("train/")
    return "eval_" + key.removeprefix("eval/") if key.startswith("eval/") else key
