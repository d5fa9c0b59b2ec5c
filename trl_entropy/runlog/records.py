"""What a run's files are read into."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


# What trackers and TRL put before a metric's name: TensorBoard and W&B show `train/entropy` for `entropy`.
_PREFIXES = ("train/",)
# A tracker's own bookkeeping
_NOT_METRICS = frozenset({"global_step", "_step", "_timestamp", "_runtime"})


class RunLogError(ValueError):
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
        return f"{where}: {self.message}"


@dataclass
class Series:
    """One metric over training.

    Args:
        steps: Optimizer steps, ascending.
        values: One finite value a step.
    """

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.steps)


@dataclass
class Run:
    """One run, as far as its files could be read.

    Args:
        name: What to call it.
        source: The file its metrics came from.
        metrics: By key, in TRL's names.
        settings: Contents of `settings.json`, or empty.
        token_map: Lines of `token_map.jsonl`.
        dynamics: Lines of `entropy_dynamics.jsonl`.
        problems: Everything that could not be used.
    """

    name: str
    source: Path
    metrics: dict[str, Series] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    token_map: list[dict[str, Any]] = field(default_factory=list)
    dynamics: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def method(self) -> str:
        """The method by the settings; `unknown` without them."""
        return str(self.settings.get("method", "unknown"))

    def pairs(self, x: str, y: str) -> tuple[list[int], list[float], list[float]]:
        """Steps at which both metrics were logged, with their values.

        Raises:
            RunLogError: If one of them was never logged.
        """
        for key in (x, y):
            if key not in self.metrics:
                known = ", ".join(sorted(self.metrics)) or "none"
                raise RunLogError(f"{self.source}: metric {key!r} was never logged. Logged: {known}.")
        second = dict(zip(self.metrics[y].steps, self.metrics[y].values, strict=True))
        first = dict(zip(self.metrics[x].steps, self.metrics[x].values, strict=True))
        steps = [step for step in first if step in second]
        return steps, [first[step] for step in steps], [second[step] for step in steps]


def unexpected(run: Run, error: Exception) -> Problem:
    """An error that nothing foresaw, as a problem of the run's file: one damaged run must not hide the others."""
    text = (str(error).strip().splitlines() or [""])[0]
    return Problem(Path(run.source), None, f"{type(error).__name__} ({text}); this run is left out")


def is_number(value: Any) -> bool:
    """Whether a value is a number that a finite float can hold, and not a bool."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def as_step(value: Any) -> int | None:
    """A logged step as an integer; None for what can be no step: no number, or above 2^53.

    >>> as_step(3.0), as_step(1e300), as_step("3")
    (3, None, None)
    """
    return int(value) if is_number(value) and abs(value) < 2**53 else None


def logged_step(figures: Mapping[str, Any], own: Any) -> int | None:
    """The optimizer step of a tracker's entry: `train/global_step` where it was logged, else the tracker's own step.

    A tracker counts entries, and two entries of one step, training's and an evaluation's say, are two of its steps.

    >>> logged_step({"train/global_step": 20}, own=7), logged_step({}, own=7)
    (20, 7)
    """
    step = as_step(figures.get("train/global_step"))
    return step if step is not None else as_step(own)


def collect(points: Iterable[tuple[int, Mapping[str, Any]]]) -> dict[str, Series]:
    """Series from (step, figures) in any order; a step that was logged twice keeps its last value."""
    table: dict[str, dict[int, float]] = {}
    for step, figures in points:
        for key, value in figures.items():
            if is_number(value) and plain_key(key) not in _NOT_METRICS:
                table.setdefault(plain_key(key), {})[step] = float(value)
    return {key: Series(sorted(by), [by[s] for s in sorted(by)]) for key, by in table.items()}


def plain_key(key: str) -> str:
    """A metric's key without a tracker's prefix.

    >>> plain_key("train/entropy")
    'entropy'
    """
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return "eval_" + key.removeprefix("eval/") if key.startswith("eval/") else key
