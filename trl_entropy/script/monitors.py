"""What `trl-entropy grpo` measures beside training: held-out problems, the entropy law, figures for the trackers."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..evaluate.benchmarks import BENCHMARKS, Benchmark
from ..evaluate.problems import Problem, load_problems
from .data import ColumnArguments


if TYPE_CHECKING:
    from ..grpo_trainer import EntropyGRPOTrainer


@dataclass
class MonitorArguments:
    """What is measured while a run trains. All of it is off unless asked for, and none of it changes the weights.

    Parameters:
        heldout_benchmark (`str`, *optional*):
            A benchmark of `trl-entropy eval` by name, or a local JSON, JSONL, Parquet or CSV file of problems with
            answers. Logs `heldout/pass_at_1`, `heldout/pass_at_{n}`, `heldout/maj_at_{n}` and more.
        heldout_steps (`int`, *optional*, defaults to `50`):
            Optimizer steps between evaluations; the initial policy and the last are evaluated too.
        heldout_samples (`int`, *optional*, defaults to `8`):
            Samples a problem, n, at the training temperature.
        heldout_problems (`int`, *optional*):
            Only the first so many problems; all by default.
        log_entropy_law (`bool`, *optional*, defaults to `False`):
            Fit `R = -a exp(H) + b` to the log as it grows, and log `law/ceiling`, `law/a`, `law/b`, `law/r2`.
        log_figures (`bool`, *optional*, defaults to `False`):
            Send curves and law as images to TensorBoard, W&B or trackio, every 100 steps and at the end.
    """

    heldout_benchmark: str | None = field(
        default=None, metadata={"help": f"Evaluate while training on {', '.join(BENCHMARKS)}, or a local file."}
    )
    heldout_steps: int = field(default=50, metadata={"help": "Optimizer steps between those evaluations."})
    heldout_samples: int = field(default=8, metadata={"help": "Samples a problem, n of pass@n and maj@n."})
    heldout_problems: int | None = field(
        default=None, metadata={"help": "Evaluate on the first so many problems only."}
    )
    log_entropy_law: bool = field(
        default=False, metadata={"help": "Fit R = -a exp(H) + b while training and log its ceiling."}
    )
    log_figures: bool = field(
        default=False, metadata={"help": "Send curves and law as images to TensorBoard, W&B or trackio."}
    )


def check_monitors(monitors: MonitorArguments, report_to: list[str] | str | None) -> None:
    """Raise `ValueError` for numbers out of range and for settings that would have no effect.

    Args:
        monitors: what was given.
        report_to: the run's trackers.
    """
    for name in ("heldout_steps", "heldout_samples", "heldout_problems"):
        value = getattr(monitors, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} is not allowed; give a whole number of at least 1.")
    for f in (f for f in fields(monitors) if f.name.startswith("heldout_") and f.name != "heldout_benchmark"):
        value = getattr(monitors, f.name)
        if monitors.heldout_benchmark is None and value != f.default:
            raise ValueError(
                f"{f.name}={value} was given but heldout_benchmark is not set, so it has no effect. Set "
                f"heldout_benchmark, or leave {f.name} out."
            )
    trackers = {report_to} if isinstance(report_to, str) else set(report_to or ())
    if monitors.log_figures and not trackers & {"tensorboard", "wandb", "trackio", "all"}:
        raise ValueError(
            f"log_figures=True was given but report_to={report_to!r} names no tracker that takes images, so it has no "
            "effect. Set report_to to tensorboard, wandb or trackio, or leave log_figures out."
        )


def heldout(monitors: MonitorArguments, columns: ColumnArguments) -> tuple[Benchmark, list[Problem]] | None:
    """The benchmark to evaluate on and its problems, asked as the training data is; None when there is none.

    A file is read by the columns of the training data, else by those that `trl-entropy eval` knows. With a
    `system_prompt` the problem is asked as it is; without, by the benchmark's template, which asks for a `\\boxed{}`.

    Raises:
        FileNotFoundError, ValueError: as [`load_problems`].
    """
    name = monitors.heldout_benchmark
    if name is None:
        return None
    benchmark = BENCHMARKS.get(name)
    if benchmark is None:
        answers = (columns.solution_column,) if columns.solution_column else ()
        benchmark = Benchmark(
            name, name, "test", (columns.prompt_column, "problem", "question"), (*answers, "solution", "answer")
        )
    if columns.system_prompt:
        benchmark = replace(benchmark, prompt="{problem}")
    return benchmark, load_problems(benchmark, limit=monitors.heldout_problems)


def name_run(args: Any, given: Collection[str]) -> None:
    """Name the trackers' run, and trackio's project, after the run's folder, where neither argument nor variable does.

    Args:
        args: the training arguments; `run_name` and `project` are set.
        given: the arguments that were given by name.
    """
    name = Path(str(args.output_dir)).resolve().name
    for argument, variable in (("run_name", "WANDB_NAME"), ("project", "TRACKIO_PROJECT")):
        if argument not in given and variable not in os.environ:
            setattr(args, argument, name)


def add_monitors(
    trainer: EntropyGRPOTrainer,
    monitors: MonitorArguments,
    problems: tuple[Benchmark, list[Problem]] | None,
    columns: ColumnArguments,
    prompt: str | list,
) -> None:
    """Add the callbacks that were asked for to the trainer. `prompt` is one of the training data: a text or a chat."""
    from ..callbacks.heldout import EvaluationCallback
    from ..callbacks.law_forecast import EntropyLawCallback
    from ..callbacks.pictures import PictureCallback

    if problems is not None:
        benchmark, rows = problems
        trainer.add_callback(
            EvaluationCallback(
                trainer,
                rows,
                every=monitors.heldout_steps,
                n=monitors.heldout_samples,
                temperature=cast(float, trainer.args.temperature),
                grader=benchmark.grader,
                chat="never" if isinstance(prompt, str) else "always",
                system_prompt=columns.system_prompt,
            )
        )
    if monitors.log_entropy_law:
        trainer.add_callback(EntropyLawCallback(trainer))
    if monitors.log_figures:
        trainer.add_callback(PictureCallback(trainer))
