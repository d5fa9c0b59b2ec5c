"""The whole demo: warm-up, runs, evaluation, picture, table, reading."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from trl_entropy.plots.demo_picture import plot_demo
from trl_entropy.tasks import puzzles
from trl_entropy.tasks.threads import one_thread
from trl_entropy.tasks.warmup import load_or_warm_up

from .measure import SAMPLES, evaluate_policy
from .processes import run_all
from .reading import label, reading
from .results import Columns, build_results, read_run
from .settings import TRAINING, DemoSettings, available_cores
from .table import results_table
from .worker import EVALUATION_SEED, RunSpec, check_arguments, load_start


_PACKAGES = ("torch", "transformers", "trl", "trl-entropy")


class Demo:
    """One demo with its progress display; `run_demo` is what to call."""

    def __init__(self, settings: DemoSettings, console: Console) -> None:
        self.settings = settings
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self.bars: dict[str, TaskID] = {}

    @property
    def jobs(self) -> int:
        """Runs at a time."""
        runs = len(self.settings.methods) * len(self.settings.seeds)
        return min(self.settings.jobs or available_cores(), runs)

    def plan(self) -> str:
        """What is about to happen, in one sentence."""
        names = ", ".join(label(method) for method in self.settings.methods)
        runs = len(self.settings.methods) * len(self.settings.seeds)
        return (
            f"A supervised warm-up of {self.settings.warmup.steps} steps, then {runs} runs of {self.settings.batches} "
            f"batches ({names}), {self.jobs} at a time, each on one thread."
        )

    def warm_up(self) -> Path:
        """The warmed-up model's folder."""
        steps = self.settings.warmup.steps
        bar = self.progress.add_task("supervised warm-up", total=steps, note="")

        def on_step(step: int, loss: float) -> None:
            self.progress.update(bar, completed=step, note=f"loss {loss:.2f} nats a token")

        folder, cached = load_or_warm_up(self.settings.warmup, self.settings.cache_dir, on_step)
        self.progress.update(bar, completed=steps, note="found in the cache" if cached else "kept in the cache")
        return folder

    def evaluate_start(self, folder: Path) -> Columns:
        """Figures of the model that every run starts from."""
        model, tokenizer = load_start(str(folder))
        chosen = puzzles(self.settings.split)[: self.settings.puzzles]
        with one_thread():
            columns = evaluate_policy(model, tokenizer, chosen, EVALUATION_SEED).columns()
        self.report("start", columns)
        return columns

    def specifications(self, start_model: Path) -> list[RunSpec]:
        """Every method with every seed, all methods of a seed next to each other."""
        settings = self.settings
        output = settings.output_dir
        return [
            RunSpec(
                method=method,
                arguments=settings.arguments(method),
                seed=seed,
                batches=settings.batches,
                prompts_per_batch=settings.prompts_per_batch,
                evaluation_batches=settings.evaluation_batches,
                split=settings.split,
                puzzles=settings.puzzles,
                start_model=str(start_model),
                folder=str(output / "runs" / f"{method}-seed{seed}"),
            )
            for seed in settings.seeds
            for method in settings.methods
        ]

    def on_event(self, spec: RunSpec, event: dict[str, Any]) -> None:
        """Show what a run wrote."""
        bar = self.bars[spec.name]
        self.progress.start_task(bar)  # the clock starts with the first event; later calls change nothing
        if event["kind"] == "log":
            note = f"reward {event['reward']:.2f}  entropy {event['entropy']:.2f}"
            self.progress.update(bar, completed=event["batch"], note=note)
        else:
            self.progress.update(bar, completed=event["batch"])
            self.report(f"{label(spec.method)}, seed {spec.seed}, batch {event['batch']}", event["columns"])

    def report(self, title: str, columns: Mapping[str, Sequence[float]] | Columns) -> None:
        """Print one evaluation above the bars."""
        mean = {name: sum(values) / len(values) for name, values in columns.items()}
        self.progress.console.print(
            f"{title}: pass@1 {mean['pass@1']:.3f}, pass@16 {mean['pass@16']:.3f}, distinct {mean['distinct@16']:.2f}",
            highlight=False,
        )

    def train(self, specs: list[RunSpec]) -> None:
        """Run them all, as many at a time as there are cores."""
        for spec in specs:
            title = f"{label(spec.method)}, seed {spec.seed}"
            self.bars[spec.name] = self.progress.add_task(title, total=spec.batches, start=False, note="waiting")
        run_all(specs, self.jobs, self.on_event)


def run_demo(settings: DemoSettings, console: Console | None = None) -> dict[str, Any]:
    """Warm up, train each method with each seed, evaluate, and write picture, figures, table and models.

    Written to `settings.output_dir`: `demo.png` and `demo.svg`, `results.json`, `table.txt`,
    `runs/<method>-seed<n>/` (model, tokenizer, model card, settings, log, token map).

    Args:
        settings: What to run.
        console: Where to print; the standard output by default.

    Returns:
        The results, as in `results.json`.

    Raises:
        RunFailedError: If a training run fails; the message holds the end of its log.
        ValueError: For arguments in `settings.changes` that a run would refuse, before anything is trained.
    """
    for method in settings.methods:
        check_arguments(settings.arguments(method))
    console = console or Console()
    began = time.monotonic()
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    demo = Demo(settings, console)
    console.print(demo.plan(), highlight=False)
    with demo.progress:
        start_model = demo.warm_up()
        start = demo.evaluate_start(start_model)
        specs = demo.specifications(start_model)
        demo.train(specs)
    results = build_results(start, [read_run(spec.method, spec.seed, spec.events) for spec in specs])
    results["settings"] = _described(settings, len(next(iter(start.values()))))
    results["reading"] = reading(results)
    results["wall_seconds"] = round(time.monotonic() - began, 1)

    figures = settings.output_dir / "results.json"
    figures.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    picture = plot_demo(results, settings.output_dir / "demo.png")[0]
    table = settings.output_dir / "table.txt"
    with table.open("w", encoding="utf-8") as stream:
        _print_table(results, Console(file=stream, width=110, force_jupyter=False))
    _print_table(results, console)
    console.print()
    for title, path in (("picture", picture), ("figures", figures), ("table", table)):
        console.print(f"{title:9}{path}", highlight=False, soft_wrap=True)
    for spec in specs:
        console.print(f"{'model':9}{spec.folder}", highlight=False, soft_wrap=True)
    console.print(f"{'time':9}{results['wall_seconds']:.0f} s", highlight=False)
    return results


def _print_table(results: dict[str, Any], console: Console) -> None:
    console.print(results_table(results))
    for sentence in results["reading"]:
        console.print(f"• {sentence}", highlight=False)


def _described(settings: DemoSettings, count: int) -> dict[str, Any]:
    return {
        "batches": settings.batches,
        "prompts_per_batch": settings.prompts_per_batch,
        "seeds": list(settings.seeds),
        "split": settings.split,
        "puzzles": count,
        "samples": SAMPLES,
        "training": dict(TRAINING),
        "methods": {method: settings.arguments(method) for method in settings.methods},
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
