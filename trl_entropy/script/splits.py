"""The rows to train and to evaluate on, checked against what a rollout and the rewards take."""

from pathlib import Path

from datasets import IterableDataset

from ..config import EntropyGRPOConfig
from .arguments import Arguments
from .data import AnySplit, column_names, load_splits, pick_split, to_prompts
from .reward_names import check_columns, reward_function


def is_local(given: Arguments) -> bool:
    """Whether the data can be read without the Hub."""
    entries = given.mixture.datasets
    paths = [entry.path for entry in entries] if entries else [str(given.script.dataset_name)]
    return all(path == "countdown" or Path(path).expanduser().exists() for path in paths)


def load_data(given: Arguments) -> tuple[AnySplit, AnySplit | None]:
    """The rows to train on and those to evaluate on, if any, with the columns that TRL and the rewards read.

    Raises:
        ValueError, OSError: for a split or column that is not there, fewer rows than a rollout takes, a reward that
            the columns cannot feed, or data that cannot be loaded.
    """
    script, args, mixture, columns = given.script, given.args, given.mixture, given.columns
    if mixture.datasets:
        dataset = mixture.load(args.seed)
    else:
        dataset = load_splits(str(script.dataset_name), script.dataset_config, script.dataset_streaming)
    train_split = to_prompts(pick_split(dataset, script.dataset_train_split), columns)
    eval_split = None
    if args.eval_strategy != "no":
        eval_split = to_prompts(pick_split(dataset, script.dataset_test_split), columns)
    check_rows(train_split, args)
    names = column_names(train_split)
    if "prompt" not in names:
        raise ValueError(f"No column is named prompt: the data has {', '.join(map(repr, names))}. Set prompt_column.")
    reach = [] if args.remove_unused_columns else names
    check_columns(reach, [(name, reward_function(name, args)) for name in script.reward_funcs or []])
    return train_split, eval_split


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
