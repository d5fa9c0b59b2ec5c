"""From the runs' events to the demo's results: means with intervals, differences, comparisons at equal pass@1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trl_entropy.evaluate import bootstrap_interval, paired_test


Columns = dict[str, np.ndarray]
COMPARED = ("pass@1", "pass@16", "maj@16", "distinct@16")
RESAMPLES = 2_000


@dataclass(frozen=True)
class RunResult:
    """What one run left: its training curves, and per-puzzle figures at each of its evaluations.

    Attributes:
        method: The method's key.
        seed: The run's seed.
        batches: (logs,) the batch of each logged value.
        reward: (logs,) mean reward of the batch.
        entropy: (logs,) mean token entropy of the batch in nats.
        evaluations: batch -> figure's name -> (puzzles,) values.
    """

    method: str
    seed: int
    batches: tuple[float, ...]
    reward: tuple[float, ...]
    entropy: tuple[float, ...]
    evaluations: dict[int, Columns]


def read_run(method: str, seed: int, events: Path) -> RunResult:
    """The result of a run from its events file."""
    rows = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    logs = [row for row in rows if row["kind"] == "log"]
    return RunResult(
        method=method,
        seed=seed,
        batches=tuple(row["batch"] for row in logs),
        reward=tuple(row["reward"] for row in logs),
        entropy=tuple(row["entropy"] for row in logs),
        evaluations={
            row["batch"]: {name: np.array(values) for name, values in row["columns"].items()}
            for row in rows
            if row["kind"] == "evaluation"
        },
    )


def mean_over_seeds(runs: Sequence[RunResult]) -> dict[int, Columns]:
    """batch -> name -> (puzzles,) values, averaged over the runs of one method."""
    first = runs[0].evaluations
    return {
        batch: {name: np.mean([run.evaluations[batch][name] for run in runs], axis=0) for name in first[batch]}
        for batch in first
    }


def summary(columns: Columns) -> dict[str, Any]:
    """Mean and 95 % bootstrap interval over puzzles of every figure."""
    return {
        name: {"mean": float(values.mean()), "interval": list(bootstrap_interval(values, resamples=RESAMPLES))}
        for name, values in columns.items()
    }


def entropy_ratio(start: Columns, end: Columns) -> dict[str, Any]:
    """Entropy at the end over entropy at the start, with its 95 % bootstrap interval over puzzles."""
    before, after = start["entropy"], end["entropy"]
    draws = _resampled(len(before))
    low, high = np.quantile(after[draws].mean(1) / before[draws].mean(1), [0.025, 0.975])
    return {"mean": float(after.mean() / before.mean()), "interval": [float(low), float(high)]}


def differences(reference: Columns, other: Columns) -> dict[str, Any]:
    """Mean of `other` minus mean of `reference` on the same puzzles, with interval and sign-flip p-value."""
    found = {}
    for name in COMPARED:
        test = paired_test(reference[name], other[name], resamples=RESAMPLES)
        found[name] = {"difference": test.difference, "interval": [test.low, test.high], "p_value": test.p_value}
    return found


def at_equal_pass1(start: Columns, reference: dict[int, Columns], other: dict[int, Columns]) -> dict[str, Any] | None:
    """pass@16 of `other` minus that of `reference` where both paths have the same pass@1.

    A method that only slows learning keeps entropy as well, so two runs are compared at equal pass@1 and not at equal
    steps: at the lower of their two best values of pass@1, each path's pass@16 is read off at its first crossing, by
    linear interpolation between evaluations. The interval resamples puzzles and repeats all of it.

    Returns:
        `pass@1`, `difference`, `interval` and the two values of pass@16, or None where one path never rises above its
        start, so that there is nothing to compare.
    """
    paths = [[start, *(path[batch] for batch in sorted(path))] for path in (reference, other)]
    stacked = [np.stack([[point["pass@1"], point["pass@16"]] for point in path]) for path in paths]
    means = [points.mean(-1) for points in stacked]
    level = min(mean[:, 0].max() for mean in means)
    if level <= start["pass@1"].mean():
        return None
    values = [_first_crossing(mean, level) for mean in means]
    found = []
    for draw in _resampled(len(start["pass@1"])):
        drawn = [points[..., draw].mean(-1) for points in stacked]
        drawn_level = min(mean[:, 0].max() for mean in drawn)
        found.append(_first_crossing(drawn[1], drawn_level) - _first_crossing(drawn[0], drawn_level))
    low, high = np.quantile(found, [0.025, 0.975])
    return {
        "pass@1": float(level),
        "reference_pass@16": values[0],
        "pass@16": values[1],
        "difference": values[1] - values[0],
        "interval": [float(low), float(high)],
    }


def _first_crossing(path: np.ndarray, level: float) -> float:
    """pass@16 where pass@1 first reaches `level` on a path (points, 2) of (pass@1, pass@16)."""
    reached = int(np.argmax(path[:, 0] >= level))
    if reached == 0:
        return float(path[0, 1])
    (x0, y0), (x1, y1) = path[reached - 1], path[reached]
    return float(y0 + (y1 - y0) * (level - x0) / (x1 - x0))


def _resampled(puzzles: int) -> np.ndarray:
    return np.random.default_rng(0).integers(puzzles, size=(RESAMPLES, puzzles))


def build_results(start: Columns, runs: Sequence[RunResult], reference: str = "plain") -> dict[str, Any]:
    """Everything the picture, the table and the reading are made from, ready for JSON.

    Args:
        start: Figures of the warmed-up model that all runs start from.
        runs: The runs, all evaluated after the same batches on the same puzzles.
        reference: The method that the others are compared with, where it was run.
    """
    methods = list(dict.fromkeys(run.method for run in runs))
    paths = {method: mean_over_seeds([run for run in runs if run.method == method]) for method in methods}
    last = {method: path[max(path)] for method, path in paths.items()}
    results: dict[str, Any] = {"start": summary(start), "methods": {}, "compared_with": reference}
    for method in methods:
        results["methods"][method] = {
            "end": summary(last[method]),
            "entropy_ratio": entropy_ratio(start, last[method]),
            "path": [{"batch": batch, "figures": summary(path)} for batch, path in sorted(paths[method].items())],
            "runs": [_curves(run) for run in runs if run.method == method],
        }
        if method != reference and reference in paths:
            results["methods"][method]["difference"] = differences(last[reference], last[method])
            results["methods"][method]["at_equal_pass@1"] = at_equal_pass1(start, paths[reference], paths[method])
    return results


def _curves(run: RunResult) -> dict[str, Any]:
    evaluations = [
        {"batch": batch, **{name: float(values.mean()) for name, values in columns.items()}}
        for batch, columns in sorted(run.evaluations.items())
    ]
    return {
        "seed": run.seed,
        "batch": list(run.batches),
        "reward": list(run.reward),
        "entropy": list(run.entropy),
        "evaluations": evaluations,
    }
