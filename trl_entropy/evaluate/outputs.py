"""What an evaluation leaves behind: one JSON, samples as Parquet, a Markdown table, and points for the entropy law."""

import json
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .intervals import paired_test
from .models import short_names
from .run import Evaluation
from .scores import mean_over_seeds, means, summary, weights


PACKAGES = ("trl-entropy", "trl", "transformers", "torch", "vllm", "peft", "math-verify", "sympy", "datasets", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that decide the figures."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def results(evaluations: Sequence[Evaluation], settings: dict[str, Any]) -> dict[str, Any]:
    """The content of `results.json`: settings, versions, figures by run and over seeds, counts by problem, tests."""
    runs = [
        {
            "model": e.model,
            "benchmark": e.benchmark,
            "seed": e.seed,
            "figures": e.summary,
            "unreadable_golds": {
                "share": len(e.unreadable_golds) / max(len(e.problems), 1),
                "problems": e.unreadable_golds,
            },
            "problems": [
                {
                    "id": problem.id,
                    "gold": problem.gold,
                    "n": len(group),
                    "c": sum(g.correct for g in group),
                    "verdicts": Counter(g.verdict for g in group),
                    **{name: _number(values[i]) for name, values in e.figures.items()},
                }
                for i, (problem, group) in enumerate(zip(e.problems, e.grades, strict=True))
            ],
        }
        for e in evaluations
    ]
    names, groups = short_names([e.model for e in evaluations]), _groups(evaluations)
    over_seeds = [
        {
            "model": model,
            "name": names[model],
            "benchmark": benchmark,
            "seeds": [e.seed for e in group],
            "figures": summary(figures),
        }
        for (model, benchmark), group, figures in groups
    ]
    return {
        "format": 1,
        "settings": settings,
        "versions": versions(),
        "figures": over_seeds,
        "comparisons": _comparisons(groups, names),
        "runs": runs,
    }


Groups = list[tuple[tuple[str, str], list[Evaluation], dict[str, np.ndarray]]]


def _comparisons(groups: Groups, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each model against the first one, benchmark by benchmark: difference, interval, p of the paired test."""
    rows = []
    for (model, benchmark), _, figures in groups:
        first, baseline = next((m, f) for (m, b), _, f in groups if b == benchmark)
        if model == first:
            continue
        for name, values in figures.items():
            told = name.startswith(("avg@", "pass@", "mg-pass@", "maj@")) or name in ("distinct_correct", "entropy")
            if not told or np.isnan(values).any() or np.isnan(baseline[name]).any():
                continue
            w_first, w_model = weights(name, baseline), weights(name, figures)
            scales = None if w_first is None or w_model is None else (w_first, w_model)
            test = paired_test(baseline[name], values, weights=scales)
            row = {"model": names[model], "baseline": names[first], "benchmark": benchmark, "figure": name}
            rows.append(row | {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p_value})
    return rows


def _groups(evaluations: Sequence[Evaluation]) -> Groups:
    keys = list(dict.fromkeys((e.model, e.benchmark) for e in evaluations))
    grouped = [(key, [e for e in evaluations if (e.model, e.benchmark) == key]) for key in keys]
    return [(key, group, mean_over_seeds([e.figures for e in group])) for key, group in grouped]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def write_samples(evaluation: Evaluation, path: Path) -> None:
    """One row a sample: problem, prompt, completion, answer, verdict, vote, length, truncation, entropy."""
    import pyarrow
    import pyarrow.parquet

    rows = [
        {
            "problem": problem.id,
            "sample": j,
            "prompt": problem.prompt if isinstance(problem.prompt, str) else json.dumps(problem.prompt),
            "gold": problem.gold,
            "completion": c.text.encode("utf-8", "replace").decode(),
            "answer": g.answer.encode("utf-8", "replace").decode() if g.answer is not None else None,
            "verdict": g.verdict,
            "correct": g.correct,
            "vote": None if g.label is None else str(g.label).encode("utf-8", "replace").decode(),
            "tokens": c.tokens,
            "truncated": c.truncated,
            "entropy": c.entropy,
        }
        for problem, completions, grades in zip(
            evaluation.problems, evaluation.completions, evaluation.grades, strict=True
        )
        for j, (c, g) in enumerate(zip(completions, grades, strict=True))
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def law_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Points `{step, entropy, reward, run, source, ...}` for the law `R = b - a exp(H)`, over the seeds of each model.

    One row a model and benchmark whose engine gave entropies. `reward` is avg@n averaged over seeds, `entropy` the
    mean token entropy in nats over all their tokens. `step` is N for a model path that ends in `checkpoint-N`, else
    the model's place in the list, from 0: give the checkpoints of one run in their order. `run` names the folder of
    the checkpoint and the benchmark: the law is one of each.
    """
    models = list(dict.fromkeys(e.model for e in evaluations))
    folders = {model: str(Path(model).parent) for model in models}
    names = short_names([folder if folder != "." else "models" for folder in folders.values()])
    rows = []
    for (model, benchmark), group, figures in _groups(evaluations):
        found = means(figures)
        if np.isnan(found["entropy"]):
            continue
        match = re.search(r"checkpoint-(\d+)/?$", model)
        score = next(value for name, value in found.items() if name.startswith("avg@"))
        row = {"step": int(match[1]) if match else models.index(model), "entropy": found["entropy"], "reward": score}
        row["run"] = f"{names[folders[model] if folders[model] != '.' else 'models']} {benchmark}"
        seeds = [e.seed for e in group]
        rows.append({**row, "source": "eval", "model": model, "benchmark": benchmark, "seeds": seeds})
    return rows
