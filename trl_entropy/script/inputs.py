"""What a training run is given, checked before a model loads: rewards, tools, data, checkpoint, engine."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from datasets import IterableDataset

from ..config import EntropyGRPOConfig
from ..reliability import checkpoints
from .data import ColumnArguments, check_dataset_arguments


if TYPE_CHECKING:
    from trl import ModelConfig

    from .data import AnySplit
    from .mixture import Mixture
    from .train import EntropyScriptArguments


def _trl_reward(name: str) -> Callable:
    import trl.rewards

    return getattr(trl.rewards, name)


def _overlong(max_completion_length: int) -> Callable:
    from trl.rewards import get_soft_overlong_punishment

    cache = max(1, max_completion_length // 5)
    return get_soft_overlong_punishment(max_completion_len=max_completion_length, soft_punish_cache=cache)


REWARDS: dict[str, Callable[[EntropyGRPOConfig], Callable]] = {
    "math_reward": lambda _: imported("trl_entropy.rewards.math_reward"),
    "format_reward": lambda _: imported("trl_entropy.rewards.format_reward"),
    "countdown_reward": lambda _: imported("trl_entropy.tasks.countdown.countdown_reward"),
    "accuracy_reward": lambda _: _trl_reward("accuracy_reward"),
    "reasoning_accuracy_reward": lambda _: _trl_reward("reasoning_accuracy_reward"),
    "think_format_reward": lambda _: _trl_reward("think_format_reward"),
    "soft_overlong_punishment": lambda args: _overlong(cast(int, args.max_completion_length)),
}


def imported(path: str, argument: str = "reward_funcs") -> Callable:
    """The function at a dotted path, which may lead into the working directory.

    Raises:
        ValueError: when there is none, or something that cannot be called.
    """
    module, _, name = path.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ValueError(
            f"{argument}: {path!r} could not be imported ({type(error).__name__}: {error}). Give module.function, "
            "importable from here."
        ) from error
    if not callable(found):
        raise ValueError(f"{argument}: {path!r} is a {type(found).__name__}, not a function.")
    return found


def reward_function(name: str, args: EntropyGRPOConfig) -> Callable:
    """A reward by name or dotted path; an unknown name lists the known ones."""
    if name in REWARDS:
        return REWARDS[name](args)
    if "." in name:
        return imported(name)
    raise ValueError(f"reward_funcs: {name!r} is not known. Give {', '.join(REWARDS)}, or a dotted import path.")


def check_inputs(
    script: EntropyScriptArguments,
    args: EntropyGRPOConfig,
    model: ModelConfig,
    mixture: Mixture,
    columns: ColumnArguments,
) -> None:
    """Check everything that can be checked without loading a dataset or a model.

    Raises:
        ValueError: when there is no reward, no model, no dataset or two, an unknown reward or tool, a reward model of
            another kind, an argument that would have no effect, a stream without an end, an engine that is not
            installed, or a checkpoint that cannot be resumed from.
        FileNotFoundError: when a local dataset or reward model is not there.
    """
    if not (script.reward_funcs or script.reward_model_name_or_path):
        raise ValueError(f"No reward was given. Set reward_funcs to one or more of {', '.join(REWARDS)}, or a path.")
    for name in script.reward_funcs or []:
        reward_function(name, args)
    if script.reward_model_name_or_path:
        check_reward_model(script.reward_model_name_or_path)
    for path in script.tools or []:
        imported(path, "tools")
    if not model.model_name_or_path:
        raise ValueError("No model was given. Set model_name_or_path to a Hub id or a local folder.")
    check_data(script, args, mixture)
    if columns.solution_after and not columns.solution_column:
        raise ValueError(
            f"solution_after={columns.solution_after!r} has no effect without solution_column. Set solution_column to "
            "the column that holds the reference answer."
        )
    if args.use_vllm and args.vllm_mode == "colocate" and find_spec("vllm") is None:
        raise ValueError(
            "use_vllm=True, but vLLM is not installed. Install the extra `vllm`, or set use_vllm=False (slow)."
        )
    check_checkpoint(args.resume_from_checkpoint, str(args.output_dir))


def check_rows(split: AnySplit, args: EntropyGRPOConfig) -> None:
    """Raise `ValueError` for fewer rows than one rollout takes: TRL drops what does not fill one, here all of it."""
    prompts = (args.generation_batch_size or 0) // (args.num_generations or 1)
    if isinstance(split, IterableDataset):  # nobody knows how many
        return
    rows = len(split)
    if rows < prompts:
        raise ValueError(
            f"The training data has {rows} rows, but a rollout takes {prompts} prompts ({args.generation_batch_size} "
            f"completions / num_generations={args.num_generations}), so that nothing would be trained. Give more "
            "rows, or lower steps_per_generation (or generation_batch_size, whichever is set)."
        )


def check_reward_model(model: str) -> None:
    """Check what is there locally of a reward model: any other model would get a head of random numbers, silently.

    Raises:
        ValueError, FileNotFoundError: for a missing folder, one without a model, or a model with another head.
    """
    from ..evaluate.models import check_model

    try:
        check_model(model)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"reward_model_name_or_path: {error}") from error
    config = Path(model).expanduser() / "config.json"
    found = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    heads = found.get("architectures") or []
    if heads and "auto_map" not in found and not any(head.endswith("ForSequenceClassification") for head in heads):
        raise ValueError(
            f"reward_model_name_or_path: {model} is a {', '.join(heads)}, not a sequence-classification model. "
            "Give one that was trained to score."
        )


def check_data(script: EntropyScriptArguments, args: EntropyGRPOConfig, mixture: Mixture) -> None:
    """Check that there is one source of data, and no argument that belongs to the other kind or that it cannot serve.

    Raises:
        ValueError, FileNotFoundError: as [`check_inputs`].
    """
    if bool(mixture.datasets) == bool(script.dataset_name):
        given = "Both datasets and dataset_name were" if mixture.datasets else "Neither datasets nor dataset_name was"
        raise ValueError(f"{given} given. Set exactly one of them.")
    names = ("dataset_config", "dataset_streaming") if mixture.datasets else ("streaming", "test_split_size")
    idle = [name for name in names if getattr(script if mixture.datasets else mixture, name) not in (None, False)]
    if idle:
        source, other = ("datasets", "dataset_name") if mixture.datasets else ("dataset_name", "datasets")
        raise ValueError(f"{', '.join(idle)}: no effect on {source}, only on {other}.")
    if script.dataset_name:
        check_dataset_arguments(script.dataset_name, script.dataset_config, script.dataset_streaming)
    mixture.check_files()
    if (script.dataset_streaming or mixture.streaming) and args.max_steps <= 0:
        raise ValueError("A stream has no length: set max_steps, or load the data without streaming.")


def is_on_hub(checkpoint: str | bool | None) -> bool:
    """Whether `resume_from_checkpoint` says `hub`, the run's own repository, or `hub:user/name`."""
    return isinstance(checkpoint, str) and (checkpoint == "hub" or checkpoint.startswith("hub:"))


def check_checkpoint(wanted: str | bool | None, run: str) -> None:
    """Raise `IncompleteCheckpointError`, a `ValueError`, unless `resume_from_checkpoint` can be resumed from.

    Args:
        wanted: a local folder, "true" for the newest complete one in `run`, or what names one on the Hub, which is
            checked when it has been fetched.
        run: the run's `output_dir`.
    """
    if not wanted or str(wanted).lower() == "false" or is_on_hub(wanted):
        return
    if str(wanted).lower() == "true":
        if checkpoints.newest_complete(run, contents=False)[0] is None:
            raise checkpoints.IncompleteCheckpointError(
                f"resume_from_checkpoint=True, but {run} holds no complete checkpoint. Start without it, or name one "
                "elsewhere."
            )
        return
    problem = checkpoints.flaw(str(wanted), contents=False)
    if problem:
        raise checkpoints.IncompleteCheckpointError(f"{wanted} cannot be resumed from: {problem}.")
