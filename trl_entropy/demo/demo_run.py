"""The whole demo: its study, then picture, table and reading."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..plots.demo_picture import plot_demo
from ..script.spelling import known_word
from ..study.compared import compared
from ..study.matrix import Study, read_study
from ..study.outcome import read_outcomes
from ..study.session import carry_out
from .reading import reading
from .table import results_table


STUDY = Path(__file__).with_name("demo.yaml")


def demo_study(output: Path, methods: Sequence[str], seeds: Sequence[int], **task: Any) -> Study:
    """The study of the demo: some of `demo.yaml`'s methods, and changes of its task.

    Raises:
        ValueError: for a method that `demo.yaml` does not have, or a number out of range.
    """
    study = read_study(STUDY, output, output / "results")
    named = tuple(known_word(method, study.methods, "a method of the demo") for method in methods)
    tasks = {name: replace(plan, methods=named, **task) for name, plan in study.tasks.items()}
    return replace(study, tasks=tasks, seeds=tuple(seeds))


def run_demo(study: Study, jobs: int | None, console: Console) -> int:
    """Carry out the demo's study, and write and print what came of it.

    Written to the study's output: `demo.png` and `demo.svg`, `results.json`, `table.txt`, and a folder a run.

    Returns:
        The exit status of the study.
    """
    began = time.monotonic()
    status = carry_out(study, jobs, "cpu", console)
    if status:
        return status
    (task, plan), outcomes = next(iter(study.tasks.items())), read_outcomes(study.results)
    asked = [run.as_dict() for run in (*study.starts(), *study.runs())]
    results = compared([run for run in outcomes if run.plan in asked], task, plan.splits[0])
    results["reading"] = reading(results)
    figures, table = study.output / "results.json", study.output / "table.txt"
    figures.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    picture = plot_demo(results, study.output / "demo.png")[0]
    with table.open("w", encoding="utf-8") as stream:
        _print_table(results, Console(file=stream, width=110, force_jupyter=False))
    _print_table(results, console)
    console.print()
    for title, path in (("picture", picture), ("figures", figures), ("table", table)):
        console.print(f"{title:9}{path}", highlight=False, soft_wrap=True)
    console.print(f"{'time':9}{time.monotonic() - began:.0f} s", highlight=False)
    return 0


def _print_table(results: dict[str, Any], console: Console) -> None:
    console.print(results_table(results))
    for sentence in results["reading"]:
        console.print(f"• {sentence}", highlight=False)
