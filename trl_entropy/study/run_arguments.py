"""The trainer's arguments of a study's runs, checked before anything is trained."""

from __future__ import annotations

import warnings
from typing import Any

from transformers.utils import cached_file

from .. import EntropyGRPOConfig
from ..tasks import TASKS
from ..tasks.warmup import WarmupSettings
from .matrix import RunPlan, Study


def configuration(plan: RunPlan, folder: str, device: str) -> EntropyGRPOConfig:
    """The trainer's arguments of a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # `gradient_checkpointing`: only the newest have its new name
        return EntropyGRPOConfig(**_arguments(plan, folder, device))


def _arguments(plan: RunPlan, folder: str, device: str) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": plan.samples_per_pass,
        "max_completion_length": TASKS[plan.task].longest,
        "max_steps": plan.batches * plan.steps_per_batch,
        "seed": plan.seed,
        "report_to": "none",
        "use_cpu": device == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": min(plan.evaluate_at) * plan.steps_per_batch,
        "save_total_limit": 1,
        "disable_tqdm": True,
        **plan.arguments,
    }


def check(study: Study) -> None:
    """Raise `ValueError` where a run would be refused."""
    checked: list[dict[str, Any]] = []
    for run in study.runs():
        if run.arguments not in checked:
            checked.append(run.arguments)
            try:
                _check_run(run)
            except TypeError as error:
                raise ValueError(f"{run.label}: {error}: `trl-entropy grpo --help` lists the arguments") from error
            except ValueError as error:
                raise ValueError(f"{run.label}: {error}") from error


def check_bases(study: Study) -> None:
    """Raise `ValueError` where a start policy is to be made of a pretrained model that is not there."""
    for run in study.starts():
        model, made_by = WarmupSettings(**run.warmup).model, TASKS[run.task].base_made_by
        if model is None:
            continue
        try:
            cached_file(model, "config.json")
        except OSError as error:
            raise ValueError(
                f"{run.task} begins from the pretrained model {model!r}, which is no folder with config.json and no "
                f"model of the Hub: `{made_by}` makes {TASKS[run.task].warmup['model']}; or give another as "
                "`warmup: {model: ...}`"
            ) from error


def _check_run(run: RunPlan) -> None:
    for name, whole, part in (
        ("steps_per_generation * num_iterations", run.passes, "gradient_accumulation_steps"),
        ("prompts_per_batch", run.prompts_per_batch, "steps_per_generation"),
    ):
        if whole % run.arguments[part]:
            raise ValueError(f"{name} must be a multiple of {part} = {run.arguments[part]}, got {whole}")
    WarmupSettings(**run.warmup)
    configuration(run, "unused", "cpu").check_with()
