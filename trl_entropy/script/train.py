"""The training script: what `trl-entropy grpo` launches, and what `accelerate launch -m trl_entropy.train` runs.

Arguments are those of `trl grpo` with those of [`EntropyGRPOConfig`]; see `configs/` for files to start from.
"""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from transformers.utils.logging import disable_progress_bar
from trl import get_peft_config, get_quantization_config

from ..callbacks.progress_line import show_progress
from ..evaluate.benchmarks import Benchmark
from ..evaluate.problems import Problem
from ..hub.publish import Destination, PushFailedError, fetch_checkpoint, open_repository, save_and_push
from .arguments import Arguments, help_text, parse
from .data import AnySplit, column_names
from .inputs import check_inputs, check_installed, is_on_hub, reward_functions
from .launch import warn_of_missing_processes
from .model_check import check_tokenizer
from .monitors import add_monitors, heldout, name_run
from .next_steps import next_steps
from .quiet import hush, hush_bars, hush_tied_head
from .reward_names import imported
from .splits import load_data
from .stop import StopOnSignal


if TYPE_CHECKING:
    from ..grpo_trainer import EntropyGRPOTrainer


def main(argv: list[str] | None = None) -> None:
    """Parse, check, load, train, save, push. Bad input ends the process with one line on stderr."""
    words = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(words):
        return print(help_text())
    hush()
    hush_bars()
    try:
        given = parse(words)
        warn_of_missing_processes(given.args.world_size)
        inputs = Inputs.load(given)
    except (ValueError, OSError) as error:  # OSError: a file or the Hub
        sys.exit(f"trl-entropy: {error}" if os.environ.get("RANK", "0") == "0" else 1)
    try:
        inputs.train(words)
    except PushFailedError as error:
        sys.exit(f"trl-entropy: {error}")


@dataclass
class Inputs:
    """Everything that a run needs, checked and loaded but for the model."""

    given: Arguments
    train_split: AnySplit
    eval_split: AnySplit | None
    problems: tuple[Benchmark, list[Problem]] | None

    @classmethod
    def load(cls, given: Arguments) -> "Inputs":
        """Check the arguments, load the data, and fetch the checkpoint that `resume_from_checkpoint` names on the Hub.

        Raises:
            ValueError, OSError: as [`check_inputs`], [`load_data`] and [`check_tokenizer`].
        """
        check_inputs(given)
        check_installed(given)
        problems = heldout(given.monitors, given.columns)
        train_split, eval_split = load_data(given)
        check_tokenizer(given, next(iter(train_split))["prompt"], column_names(train_split))
        if is_on_hub(given.args.resume_from_checkpoint):
            given.args.resume_from_checkpoint = fetch_checkpoint(
                cast(str, given.args.resume_from_checkpoint), given.args
            )
        return cls(given, train_split, eval_split, problems)

    def train(self, words: list[str] | None = None) -> "EntropyGRPOTrainer":
        """Load the model, train, save, push. `words` are the command line, for whoever stops the run and resumes it.

        Raises:
            PushFailedError: when everything is saved in `output_dir` but could not be pushed to the Hub.
        """
        from ..grpo_trainer import EntropyGRPOTrainer

        script, args, model = self.given.script, self.given.args, self.given.model
        rewards: list = [script.reward_model_name_or_path] if script.reward_model_name_or_path else []
        rewards += [function for _, function in reward_functions(self.given)]
        kwargs = {
            "revision": model.model_revision,
            "attn_implementation": model.attn_implementation,
            "dtype": model.dtype,
        }
        args.model_init_kwargs = {**kwargs, **cast(dict, args.model_init_kwargs or {})}
        name_run(args, self.given.given)
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
        prompt = next(iter(self.train_split))["prompt"]
        add_monitors(trainer, self.given.monitors, self.problems, self.given.columns, prompt)
        show_progress(trainer)
        disable_progress_bar()  # of files: the live line is the one that moves
        if getattr(trainer.model.config, "tie_word_embeddings", False):
            hush_tied_head()
        with StopOnSignal(trainer, words or []) as stop:
            trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        stop.leave()
        save_and_push(trainer, script.dataset_name, destination)
        if trainer.is_world_process_zero():
            print(next_steps(self.given))
        return trainer


if __name__ == "__main__":
    main()
