"""Runs that differ only in their seed, and what they have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from .records import Run
from .run_methods import PLAIN
from .smooth import smooth


# Arguments in which two repetitions of one experiment may differ.
NOT_THE_EXPERIMENT = frozenset(
    {"seed", "data_seed", "output_dir", "run_name", "logging_dir", "hub_model_id", "project"}
)


@dataclass(frozen=True)
class Group:
    """Runs of one experiment.

    Args:
        label: What to call it: its methods' names, and what tells it from others with the same methods.
        method: The methods' keys joined by `+`; `plain` without any, `unknown` where nothing says.
        runs: At least one.
    """

    label: str
    method: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Band:
    """A metric over a group's runs.

    Args:
        steps: Shape (n,): the steps at which every run that logged the metric has it.
        middle: Shape (n,): the median over runs.
        low: Shape (n,): the lowest run.
        high: Shape (n,): the highest run.
        runs: How many runs it is over.
    """

    steps: NDArray[np.float64]
    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    runs: int


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs whose settings agree in all but the seed and names; runs without settings stay alone.

    Plain GRPO comes first, the others in the order given. A group is called by its methods where that tells it apart,
    else by methods and the arguments in which the groups with the same methods differ, else by its first run's name.
    """
    members: dict[str, list[Run]] = {}
    for i, run in enumerate(runs):
        arguments = arguments_of(run)
        same = {k: v for k, v in (arguments or {}).items() if k not in NOT_THE_EXPERIMENT}
        experiment = [run.method, run.settings.get("model"), same] if arguments is not None else i
        members.setdefault(json.dumps(experiment, sort_keys=True, default=str), []).append(run)
    groups = sorted(members.values(), key=lambda group: group[0].method != PLAIN.key)
    found = [_label(group, groups) for group in groups]
    # Where nothing in the settings tells two apart, the run's name does
    labels = [
        f"{label} ({group[0].name})" if found.count(label) > 1 else label
        for label, group in zip(found, groups, strict=True)
    ]
    return [Group(label, group[0].method, tuple(group)) for label, group in zip(labels, groups, strict=True)]


def _label(group: list[Run], groups: list[list[Run]]) -> str:
    first = group[0]
    if first.methods is None:
        return first.name
    name = " + ".join(method.name for method in first.methods) or PLAIN.name
    rivals = [arguments_of(other[0]) or {} for other in groups if other[0].method == first.method]
    own = arguments_of(first) or {}
    detail = ", ".join(f"{k}={own.get(k, 'default')}" for k in differing(rivals)[:3])
    return f"{name}, {detail}" if detail else name


def differing(settings: Sequence[dict[str, object]]) -> list[str]:
    """The arguments in which some settings differ, seeds and names left out."""
    keys = sorted({key for one in settings for key in one} - NOT_THE_EXPERIMENT)
    return [k for k in keys if len({json.dumps(one.get(k), default=str) for one in settings}) > 1]


def arguments_of(run: Run) -> dict[str, object] | None:
    """The arguments in a run's settings; None where there are none or they are no object."""
    arguments = run.settings.get("arguments")
    return arguments if isinstance(arguments, dict) else None


def over_seeds(group: Group, key: str, window: int = 1) -> Band | None:
    """The median of a metric over the group's runs, with the lowest and the highest; None where no run logged it.

    Only steps that all of them logged count: a median over a changing set of runs would jump where one ends. With a
    window, each run is smoothed first.
    """
    found = [run.metrics[key] for run in group.runs if key in run.metrics]
    if not found:
        return None
    tables = [dict(zip(series.steps, series.values, strict=True)) for series in found]
    shared = sorted(set(tables[0]).intersection(*tables[1:]))
    if not shared:
        return None
    values = np.array([smooth(np.array([table[step] for step in shared]), window) for table in tables])
    steps = np.array(shared, dtype=np.float64)
    return Band(steps, np.median(values, axis=0), values.min(axis=0), values.max(axis=0), len(found))


def half_width(values: NDArray[np.float64]) -> float:
    """Half the 95 % Student interval of the mean; NaN for fewer than two values.

    >>> round(half_width(np.array([1.0, 2.0, 3.0])), 3)
    2.484
    """
    n = len(values)
    return float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def end_values(group: Group, key: str, share: float = 0.1, first: bool = False) -> NDArray[np.float64]:
    """Each run's mean of a metric over the last, or first, `share` of its points; empty where none logged it."""
    found = [run.metrics[key].values for run in group.runs if key in run.metrics]
    counts = [max(1, round(len(values) * share)) for values in found]
    return np.array([float(np.mean(v[:n] if first else v[-n:])) for v, n in zip(found, counts, strict=True)])
