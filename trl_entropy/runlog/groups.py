"""Runs that differ only in their seed, and the mean over them with its interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .records import Run
from .smooth import smooth


# Arguments in which two repetitions of one experiment may differ.
_NOT_THE_EXPERIMENT = frozenset(
    {"seed", "data_seed", "output_dir", "run_name", "logging_dir", "hub_model_id", "project"}
)

# The order of groups in figures and tables; what is none of these comes last.
_ORDER = ("plain", "bonus", "siren", "clip_cov", "kl_cov")

# Two-sided 95 % quantiles of Student's t, for 1 to 30 degrees of freedom.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Runs of one experiment.

    Args:
        label: What to call it.
        method: The method all of them share, by their settings.
        runs: At least one.
    """

    label: str
    method: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Band:
    """A metric's mean over a group's runs.

    Args:
        steps: Shape (n,): the steps at which every run that logged the metric has it.
        mean: Shape (n,).
        low: Shape (n,): lower end of the 95 % interval of the mean over seeds; NaN with one run.
        high: Shape (n,).
        runs: How many runs it is over.
    """

    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    runs: int


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs whose settings agree in all but the seed and names; runs without settings stay alone.

    A group is called by its method where that tells it apart, else by method and the arguments in which the groups of
    that method differ, else by its first run's name.
    """
    members: dict[str, list[Run]] = {}
    for i, run in enumerate(runs):
        arguments = _arguments(run)
        if arguments is None:
            members[f"alone {i}"] = [run]
            continue
        same = {k: v for k, v in arguments.items() if k not in _NOT_THE_EXPERIMENT}
        key = json.dumps([run.method, run.settings.get("model"), same], sort_keys=True, default=str)
        members.setdefault(key, []).append(run)
    groups = sorted(
        members.values(), key=lambda m: _ORDER.index(m[0].method) if m[0].method in _ORDER else len(_ORDER)
    )
    found = [_label(group, groups) for group in groups]
    # Where nothing in the settings tells two apart, the run's name does
    labels = [
        f"{label} ({group[0].name})" if found.count(label) > 1 else label
        for label, group in zip(found, groups, strict=True)
    ]
    return [Group(label, group[0].method, tuple(group)) for label, group in zip(labels, groups, strict=True)]


def _label(group: list[Run], groups: list[list[Run]]) -> str:
    first = group[0]
    if first.method == "unknown":
        return first.name
    rivals = [other[0] for other in groups if other[0].method == first.method]
    arguments = [_arguments(run) or {} for run in rivals]
    keys = sorted({k for a in arguments for k in a} - _NOT_THE_EXPERIMENT)
    differing = [k for k in keys if len({json.dumps(a.get(k), default=str) for a in arguments}) > 1][:3]
    own = _arguments(first) or {}
    detail = ", ".join(f"{k}={own.get(k, 'default')}" for k in differing)
    return f"{first.method}, {detail}" if detail else first.method


def _arguments(run: Run) -> dict[str, object] | None:
    """The arguments in a run's settings; None where there are none or they are no object."""
    arguments = run.settings.get("arguments")
    return arguments if isinstance(arguments, dict) else None


def mean_over_seeds(group: Group, key: str, window: int = 1) -> Band | None:
    """The mean of a metric over the group's runs and its 95 % Student interval; None where no run logged it.

    Only steps that all of them logged count: a mean over a changing set of runs would jump where one ends. With a
    window, each run is smoothed first, so that the interval is that of the smoothed curve.
    """
    found = [run.metrics[key] for run in group.runs if key in run.metrics]
    if not found:
        return None
    tables = [dict(zip(series.steps, series.values, strict=True)) for series in found]
    shared = sorted(set(tables[0]).intersection(*tables[1:]))
    if not shared:
        return None
    values = np.array([smooth(np.array([table[step] for step in shared]), window) for table in tables])
    mean = values.mean(axis=0)
    half = half_width(values)
    return Band(np.array(shared), mean, mean - half, mean + half, len(found))


def half_width(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the 95 % Student interval of the mean over the first axis; NaN for fewer than two values.

    >>> half_width(np.array([1.0, 2.0, 3.0])).round(3)
    np.float64(2.484)
    """
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    t = _T95[n - 2] if n - 2 < len(_T95) else 1.96 + 2.4 / (n - 1)  # within 0.001 of Student's quantile
    return t * values.std(axis=0, ddof=1) / math.sqrt(n)


def last_values(group: Group, key: str, share: float = 0.1) -> NDArray[np.float64]:
    """Each run's mean of a metric over the last `share` of its points (at least one); empty where none logged it."""
    values = [run.metrics[key].values for run in group.runs if key in run.metrics]
    return np.array([float(np.mean(v[-max(1, round(len(v) * share)) :])) for v in values])
