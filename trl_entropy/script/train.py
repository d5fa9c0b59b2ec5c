"""The training script: what `trl-entropy grpo` launches, and what `accelerate launch scripts/train_grpo.py` runs.

Arguments are those of `trl grpo` with those of [`EntropyGRPOConfig`]; see `configs/` for files to start from.
"""

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from trl import ModelConfig, ScriptArguments, TrlParser, get_peft_config, get_quantization_config

from ..config import EntropyGRPOConfig
from ..evaluate.benchmarks import Benchmark
from ..evaluate.problems import Problem
from ..hub.publish import Destination, PushFailedError, fetch_checkpoint, open_repository, save_and_push
from .config_file import config_argument, read_config
from .data import AnySplit, ColumnArguments, load_splits, pick_split, to_prompts
from .inputs import REWARDS, check_inputs, check_rows, imported, is_on_hub, reward_function
from .mixture import Mixture
from .monitors import MonitorArguments, add_monitors, check_monitors, heldout


if TYPE_CHECKING:
    from ..grpo_trainer import EntropyGRPOTrainer


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
        metadata={"help": f"Rewards: {', '.join(REWARDS)}, or dotted import paths."},
    )
    reward_model_name_or_path: str | None = field(
        default=None, metadata={"help": "A sequence-classification model used as a reward, by Hub id or local path."}
    )
    tools: list[str] | None = field(
        default=None, metadata={"help": "Dotted import paths of functions that the model may call while it generates."}
    )


def make_parser(prog: str | None = None) -> TrlParser:
    """The parser of the training script: six groups of arguments, `--config FILE.yaml`, overrides."""
    groups = (
        EntropyScriptArguments,
        EntropyGRPOConfig,
        ModelConfig,
        Mixture,
        ColumnArguments,
        MonitorArguments,
    )
    parser = TrlParser(cast(list, groups), prog=prog)
    parser.usage = "%(prog)s --config FILE [--argument value ...]"  # there are too many to list before an error
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parse, check, load, train, save, push. Bad input ends the process with one line on stderr."""
    from .launch import refuse_unknown_arguments, warn_of_missing_processes

    parser = make_parser("train_grpo.py")
    path, words = config_argument(sys.argv[1:] if argv is None else argv)
    try:
        if path is not None:
            read_config(path)
            words = ["--config", path, *words]
        *groups, unknown = parser.parse_args_and_config(words, return_remaining_strings=True)
        refuse_unknown_arguments(unknown)
        warn_of_missing_processes(groups[1].world_size)
        inputs = Inputs.load(*groups)
    except (ValueError, OSError) as error:  # OSError: a file or the Hub
        sys.exit(f"trl-entropy: {error}" if os.environ.get("RANK", "0") == "0" else 1)
    try:
        inputs.train()
    except PushFailedError as error:
        sys.exit(f"trl-entropy: {error}")


@dataclass
class Inputs:
    """Everything that a run needs, checked and loaded but for the model."""

    script: EntropyScriptArguments
    args: EntropyGRPOConfig
    model: ModelConfig
    columns: ColumnArguments
    monitors: MonitorArguments
    train_split: AnySplit
    eval_split: AnySplit | None
    problems: tuple[Benchmark, list[Problem]] | None

    @classmethod
    def load(
        cls,
        script: EntropyScriptArguments,
        args: EntropyGRPOConfig,
        model: ModelConfig,
        mixture: Mixture,
        columns: ColumnArguments,
        monitors: MonitorArguments,
    ) -> "Inputs":
        """Check the arguments, load the data, and fetch the checkpoint that `resume_from_checkpoint` names on the Hub.

        Raises:
            ValueError, OSError: as [`check_inputs`], for a split or column that is not in the data, or for what cannot
                be loaded.
        """
        check_inputs(script, args, model, mixture, columns)
        check_monitors(monitors, args.report_to)
        problems = heldout(monitors, columns)
        if mixture.datasets:
            dataset = mixture.load(args.seed)
        else:
            dataset = load_splits(cast(str, script.dataset_name), script.dataset_config, script.dataset_streaming)
        train_split = to_prompts(pick_split(dataset, script.dataset_train_split), columns)
        eval_split = None
        if args.eval_strategy != "no":
            eval_split = to_prompts(pick_split(dataset, script.dataset_test_split), columns)
        check_rows(train_split, args)
        if is_on_hub(args.resume_from_checkpoint):
            args.resume_from_checkpoint = fetch_checkpoint(cast(str, args.resume_from_checkpoint), args)
        return cls(script, args, model, columns, monitors, train_split, eval_split, problems)

    def train(self) -> "EntropyGRPOTrainer":
        """Load the model, train, save, push.

        Raises:
            PushFailedError: when everything is saved in `output_dir` but could not be pushed to the Hub.
        """
        from ..grpo_trainer import EntropyGRPOTrainer

        script, args, model = self.script, self.args, self.model
        rewards: list = [script.reward_model_name_or_path] if script.reward_model_name_or_path else []
        rewards += [reward_function(name, args) for name in script.reward_funcs or []]
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
        trainer = EntropyGRPOTrainer(
            model=cast(str, model.model_name_or_path),
            reward_funcs=rewards,
            args=args,
            train_dataset=self.train_split,
            eval_dataset=self.eval_split,
            quantization_config=get_quantization_config(model),
            peft_config=get_peft_config(model),
            tools=[imported(path, "tools") for path in script.tools or []] or None,
        )
        add_monitors(trainer, self.monitors, self.problems, self.columns, next(iter(self.train_split))["prompt"])
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        save_and_push(trainer, script.dataset_name, destination)
        return trainer


if __name__ == "__main__":
    main()
