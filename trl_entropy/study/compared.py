"""The methods of a study side by side on one task: figures along training with intervals, and the comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from ..methods import METHODS
from ..runlog.run_methods import name_of
from .frontier import LEVELS, Estimate, at, compare, crossing, estimate, path, problem_weights, seed_weights
from .matrix import START
from .outcome import FIGURES, MEANS, SAMPLES, Outcome, columns


DRAWS = 2_000
X, Y = "pass@1", f"pass@{SAMPLES}"


def compared(outcomes: Sequence[Outcome], task: str, split: str, reference: str = "plain") -> dict[str, Any]:
    """Everything that tables, pictures and sentences say about one task, as plain data.

    Intervals are 95 % percentile intervals of a hierarchical bootstrap: of problems, the same for all methods, and of
    each method's seeds. Differences are the method's figure minus the reference's.

    Args:
        outcomes: Finished runs, that of the start policy among them.
        task: The task.
        split: The split that figures are of.
        reference: The label that the others are compared with, where it was run.

    Returns:
        `start`: figure -> `{value, low, high}`, and `entropy`. `methods`: label -> `name`, `arguments`, `seeds`,
        `hours`, `path` (rows of `batch`, `tokens`, those of `MEANS` that all runs have, means over seeds, and the
        figures, the start first), `best` pass@1, `line` (pass@16 where pass@1 first reaches each of 20 levels up to
        its best), `curves` of each seed, and against the reference `difference` at the end, `equal_tokens`, and
        `frontier`, a `Comparison`. Where all its runs were measured at the same temperatures, `temperatures`, rows of
        `temperature` and the figures, the hottest first, and where the reference's were, too, `cooled`: the fields of
        `Comparison` from the hottest to the coldest, and `gap`, which cools only the method: its pass@16 where it has
        the reference's pass@1 of temperature 1, minus the reference's. `start_temperatures`: such rows of the start.

    Raises:
        ValueError: where the start policy was not measured on that split, or runs of a label were not measured alike.
    """
    here = [run for run in outcomes if run.plan["task"] == task]
    start = next((run for run in here if run.plan["method"] == START and run.evaluations(split)), None)
    runs = [run for run in here if run.plan["method"] != START and run.evaluations(split)]
    if start is None or not runs:
        raise ValueError(f"no results on the split {split!r} of {task}; run the study first")
    groups: dict[str, list[Outcome]] = {}
    for run in runs:
        groups.setdefault(run.label, []).append(run)
    problems = problem_weights(start.path(split, X).shape[1], DRAWS)
    seeds = {label: seed_weights(len(runs), DRAWS, seed=crc32(label.encode())) for label, runs in groups.items()}
    paths = {label: _paths(label, start, group, split, seeds[label], problems) for label, group in groups.items()}
    tokens = {
        label: np.mean([run.tokens_seen([0, *run.batches]) for run in group], 0) for label, group in groups.items()
    }
    of_start = _cooled([start], split, seed_weights(1, DRAWS), problems)
    cooled = {label: _cooled(group, split, seeds[label], problems) for label, group in groups.items()}
    budget = min(seen[-1] for seen in tokens.values())
    found: dict[str, Any] = {
        "task": task,
        "split": split,
        "problems": len(problems),
        "compared_with": reference,
        "token_budget": float(budget),
        "start_temperatures": _rows(start, split, of_start),
        "methods": {},
    }
    for label, group in groups.items():
        own = paths[label]
        rows = [[*start.evaluations(split), *run.evaluations(split)] for run in group]
        means = {name: _means(rows, name) for name in MEANS if all(name in row for run in rows for row in run)}
        described: dict[str, Any] = {
            "name": row_name(label),
            "arguments": group[0].plan["arguments"],
            "seeds": [run.plan["seed"] for run in group],
            "hours": sum(run.content["seconds"] for run in group) / 3600,
            "prompts_per_batch": group[0].plan["prompts_per_batch"],
            "path": [
                {"batch": batch, "tokens": float(tokens[label][i])}
                | {name: values[i] for name, values in means.items()}
                | {name: _plain(estimate(own[name][i])) for name in FIGURES}
                for i, batch in enumerate([0, *group[0].batches])
            ],
            "best": _plain(estimate(own[X].max(0))),
            "line": _line(own[X], own[Y]),
            "curves": [run.content["curves"] for run in group],
        }
        found.setdefault("start", described["path"][0])
        if label != reference and reference in paths:
            base = paths[reference]
            described["difference"] = {name: _plain(estimate(own[name][-1] - base[name][-1])) for name in FIGURES}
            described["equal_tokens"] = {
                name: _plain(
                    estimate(at(tokens[label], own[name], budget) - at(tokens[reference], base[name], budget))
                )
                for name in (X, Y)
            }
            figures = compare(base[X], base[Y], own[X], own[Y])
            described["frontier"] = {name: _plain(estimate(values)) for name, values in vars(figures).items()}
        if cooled[label]:
            described["temperatures"] = _rows(group[0], split, cooled[label])
            if label != reference and cooled.get(reference):
                base, own = ({name: cooled[of][name] for name in (X, Y)} for of in (reference, label))
                end = {name: paths[reference][name][-1] for name in (X, Y)}
                figures = {
                    "gap": crossing(own[X], own[Y], end[X]) - end[Y],
                    **vars(compare(base[X], base[Y], own[X], own[Y])),
                }
                described["cooled"] = {name: _plain(estimate(values)) for name, values in figures.items()}
        found["methods"][label] = described
    return found


def row_name(label: str) -> str:
    """A row's name for people: of the methods whose keys its label begins with, joined by `+`, and the rest as it is.

    >>> row_name("maxrl_annealed"), row_name("maxrl+kl_cov kl_cov_ratio=0.1"), row_name("on_policy")
    ('MaxRL annealed', 'MaxRL + KL-Cov kl_cov_ratio=0.1', 'on policy')
    """
    methods, *setting = label.split(" ")
    return " ".join([" + ".join(map(_part_name, methods.split("+"))), *setting])


def _part_name(part: str) -> str:
    known = {method.key: method.name for method in METHODS}
    key = max((key for key in known if part == key or part.startswith(f"{key}_")), key=len, default=None)
    if key is None:
        return name_of(part).replace("_", " ")
    return known[key] + part.removeprefix(key).replace("_", " ")


def _paths(
    label: str, start: Outcome, group: Sequence[Outcome], split: str, seeds: np.ndarray, problems: np.ndarray
) -> dict[str, np.ndarray]:
    """Figure -> (1 + evaluations, 1 + draws), the start first."""
    if len({run.batches for run in group}) > 1:
        raise ValueError(f"{label}: its seeds were evaluated after different batches")
    return {
        name: path(
            np.stack([np.concatenate([start.path(split, name), run.path(split, name)]) for run in group]),
            seeds,
            problems,
        )
        for name in FIGURES
    }


def _cooled(group: Sequence[Outcome], split: str, seeds: np.ndarray, problems: np.ndarray) -> dict[str, np.ndarray]:
    """Figure -> (temperatures, 1 + draws), the hottest first; nothing unless all were measured at the same ones."""
    runs = [run.temperatures(split) for run in group]
    if not runs[0] or len({tuple(row["temperature"] for row in rows) for rows in runs}) > 1:
        return {}
    return {
        name: path(np.array([[columns(row)[name] for row in rows] for rows in runs]), seeds, problems)
        for name in FIGURES
    }


def _rows(run: Outcome, split: str, cooled: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    return [
        {"temperature": row["temperature"]} | {name: _plain(estimate(values[i])) for name, values in cooled.items()}
        for i, row in enumerate(run.temperatures(split) if cooled else ())
    ]


def _means(runs: Sequence[Sequence[Mapping[str, Any]]], name: str) -> list[float]:
    return np.mean([[row[name] for row in run] for run in runs], 0).tolist()


def _line(x: np.ndarray, y: np.ndarray) -> list[dict[str, float | None]]:
    levels = np.linspace(x[0, 0], x[:, 0].max(), LEVELS + 1)
    read_off = [estimate(crossing(x, y, np.full(x.shape[1], level))) for level in levels]
    return [{X: float(level), **_plain(found)} for level, found in zip(levels, read_off, strict=True)]


def _plain(found: Estimate) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in vars(found).items()}
