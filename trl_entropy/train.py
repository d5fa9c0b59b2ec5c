"""The training script: what `trl-entropy grpo` launches, and what `accelerate launch scripts/train_grpo.py` runs.

Arguments are those of `trl grpo` with those of [`EntropyGRPOConfig`]; see `configs/` for files to start from.
"""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments, TrlParser

from .config import EntropyGRPOConfig
from .data import ColumnArguments, load_splits, pick_split, to_prompts
from .push import Destination, PushFailedError, fetch_checkpoint, open_repository, save_and_push


@dataclass
class EntropyScriptArguments(ScriptArguments):
    """What to train on and what to reward, as in `trl grpo`.

    Parameters:
        reward_funcs (`list[str]`, *optional*):
            Names from the table of rewards, or dotted import paths such as `my_package.rewards.my_reward`.
        reward_model_name_or_path (`str`, *optional*):
            A sequence-classification model used as a reward, by Hub id or local path.
        tools (`list[str]`, *optional*):
            Dotted import paths of functions that the model may call while it generates.
    """

    reward_funcs: list[str] | None = field(
        default=None,
        metadata={
            "help": f"Rewards: names ({', '.join(['math_reward', 'accuracy_reward', 'think_format_reward'])}, "
            "...) or dotted import paths."
        },
    )
    reward_model_name_or_path: str | None = field(
        default=None, metadata={"help": "A sequence-classification model used as a reward, by Hub id or local path."}
    )
    tools: list[str] | None = field(
        default=None, metadata={"help": "Dotted import paths of functions that the model may call while it generates."}
    )


def _trl_reward(name: str) -> Callable:
    import trl.rewards

    return getattr(trl.rewards, name)


def _overlong(max_completion_length: int) -> Callable:
    from trl.rewards import get_soft_overlong_punishment

    cache = max(1, max_completion_length // 5)
    return get_soft_overlong_punishment(max_completion_len=max_completion_length, soft_punish_cache=cache)


def _dotted(path: str, argument: str = "reward_funcs") -> Callable:
    module, _, name = path.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{argument}: {path!r} could not be imported ({error}). Give module.function, importable from here."
        ) from error


REWARDS: dict[str, Callable[[EntropyGRPOConfig], Callable]] = {
    "math_reward": lambda _: _dotted("trl_entropy.rewards.math_reward"),
    "format_reward": lambda _: _dotted("trl_entropy.rewards.format_reward"),
    "countdown_reward": lambda _: _dotted("trl_entropy.tasks.countdown.countdown_reward"),
    "accuracy_reward": lambda _: _trl_reward("accuracy_reward"),
    "reasoning_accuracy_reward": lambda _: _trl_reward("reasoning_accuracy_reward"),
    "think_format_reward": lambda _: _trl_reward("think_format_reward"),
    "soft_overlong_punishment": lambda args: _overlong(cast(int, args.max_completion_length)),
}


def reward_function(name: str, args: EntropyGRPOConfig) -> Callable:
    """A reward by name or dotted path; an unknown name lists the known ones."""
    if name in REWARDS:
        return REWARDS[name](args)
    if "." in name:
        return _dotted(name)
    raise ValueError(f"reward_funcs: {name!r} is not known. Give {', '.join(REWARDS)}, or a dotted import path.")


def make_parser(prog: str | None = None) -> TrlParser:
    """The parser of the training script: five groups of arguments, `--config FILE.yaml`, overrides."""
    groups = (EntropyScriptArguments, EntropyGRPOConfig, ModelConfig, DatasetMixtureConfig, ColumnArguments)
    return TrlParser(cast(list, groups), prog=prog)


def main(argv: list[str] | None = None) -> None:
    """Parse, check, load, train, save, push."""
    from .launch import refuse_unknown_arguments

    parser = make_parser("train_grpo.py")
    script, args, model, mixture, columns, unknown = parser.parse_args_and_config(argv, return_remaining_strings=True)
    refuse_unknown_arguments(unknown)
    try:
        train(script, args, model, mixture, columns)
    except PushFailedError as error:
        sys.exit(f"trl-entropy: {error}")


def train(
    script: EntropyScriptArguments,
    args: EntropyGRPOConfig,
    model: ModelConfig,
    mixture: DatasetMixtureConfig,
    columns: ColumnArguments,
):
    """Train as the arguments say and return the trainer. Everything that can be wrong is checked before a model loads.

    Raises:
        ValueError: when there is no reward, no dataset, two datasets, an unknown split, column, reward or tool, or no
            checkpoint to resume from.
        PushFailedError: when everything is saved in `output_dir` but could not be pushed to the Hub.
    """
    from trl import get_dataset, get_peft_config, get_quantization_config

    from .trainer import EntropyGRPOTrainer

    rewards: list = [script.reward_model_name_or_path] if script.reward_model_name_or_path else []
    rewards += [reward_function(name, args) for name in script.reward_funcs or []]
    if not rewards:
        raise ValueError(f"No reward was given. Set reward_funcs to one or more of {', '.join(REWARDS)}, or a path.")
    if not model.model_name_or_path:
        raise ValueError("No model was given. Set model_name_or_path to a Hub id or a local folder.")
    if bool(mixture.datasets) == bool(script.dataset_name):
        given = "Both datasets and dataset_name were" if mixture.datasets else "Neither datasets nor dataset_name was"
        raise ValueError(f"{given} given. Set exactly one of them.")
    name = cast(str, script.dataset_name)
    load = partial(load_splits, name, script.dataset_config, script.dataset_streaming)
    dataset = get_dataset(mixture) if mixture.datasets else load()
    train_split = to_prompts(pick_split(dataset, script.dataset_train_split), columns)
    eval_split = None
    if args.eval_strategy != "no":
        eval_split = to_prompts(pick_split(dataset, script.dataset_test_split), columns)

    kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
    }
    args.model_init_kwargs = {**kwargs, **cast(dict, args.model_init_kwargs or {})}
    destination = Destination.of(args) if args.push_to_hub else None
    problem = open_repository(args)
    if problem:
        print(f"trl-entropy: {problem}", file=sys.stderr)
    checkpoint = args.resume_from_checkpoint
    if isinstance(checkpoint, str) and (checkpoint == "hub" or checkpoint.startswith("hub:")):
        checkpoint = fetch_checkpoint(checkpoint, args)
    trainer = EntropyGRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=rewards,
        args=args,
        train_dataset=train_split,
        eval_dataset=eval_split,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        tools=[_dotted(path, "tools") for path in script.tools or []] or None,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    save_and_push(trainer, script.dataset_name, destination)
    return trainer


if __name__ == "__main__":
    main()
