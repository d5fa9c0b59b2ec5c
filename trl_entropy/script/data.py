"""Training data: a Hub id, a local folder or file, a mixture, or the built-in task, brought to TRL's columns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError

from ..rewards import gold_text


LOCAL_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass
class ColumnArguments:
    """How a dataset's columns become `prompt` and `solution`, the names that GRPO and the rewards read.

    Parameters:
        prompt_column (`str`, *optional*, defaults to `"prompt"`):
            Column with the question. Plain text becomes a conversation when `system_prompt` or
            `conversational` asks for one.
        solution_column (`str`, *optional*):
            Column with the reference answer, handed to the rewards as `solution`.
        solution_after (`str`, *optional*):
            Keep only what follows the last occurrence of this text in the solution, `"####"` for GSM8K.
        system_prompt (`str`, *optional*):
            System message put before each question.
        conversational (`bool`, *optional*, defaults to `False`):
            Wrap each plain-text question as a user message, so that the chat template is applied.
    """

    prompt_column: str = field(default="prompt", metadata={"help": "Column with the question."})
    solution_column: str | None = field(
        default=None, metadata={"help": "Column with the reference answer, renamed to `solution` for the rewards."}
    )
    solution_after: str | None = field(
        default=None, metadata={"help": "Keep only what follows this text in the solution, '####' for GSM8K."}
    )
    system_prompt: str | None = field(default=None, metadata={"help": "System message put before each question."})
    conversational: bool = field(
        default=False, metadata={"help": "Wrap each plain-text question as a user message (chat template)."}
    )


AnyDataset = DatasetDict | IterableDatasetDict
AnySplit = Dataset | IterableDataset


def check_dataset_arguments(
    name: str, config: str | None = None, streaming: bool = False, argument: str = "dataset_name"
) -> None:
    """Check the name of a dataset without loading it; `argument` is where it was given.

    Raises:
        FileNotFoundError: for a name that looks like a file and is none.
        ValueError: for a file of another format, or arguments that the built-in task does not take.
    """
    path = Path(name).expanduser()
    if name == "countdown" and (config or streaming):
        raise ValueError("dataset_config and dataset_streaming have no effect on countdown, the built-in task.")
    if name != "countdown" and (path.is_file() or path.suffix in LOCAL_FORMATS):
        if not path.is_file():
            raise FileNotFoundError(f"{argument}={name!r} looks like a file, but there is none. Check the path.")
        if path.suffix not in LOCAL_FORMATS:
            raise ValueError(
                f"{argument}={name!r} has an unknown format; give {', '.join(LOCAL_FORMATS)}, a folder, or a Hub id."
            )
        if path.stat().st_size == 0:
            raise ValueError(f"{argument}={name!r} is an empty file.")


def load_splits(name: str, config: str | None = None, streaming: bool = False) -> AnyDataset:
    """Load every split of a dataset by Hub id, local folder, or local `.json`, `.jsonl`, `.parquet` or `.csv` file.

    `countdown` is the built-in task, with the splits `train`, `selection`, `test` (its held-out puzzles) and `warmup`.
    A single file becomes the split `train`.

    Raises:
        FileNotFoundError, ValueError: as [`check_dataset_arguments`], or for a file that cannot be read as its format.
    """
    check_dataset_arguments(name, config, streaming)
    path = Path(name).expanduser()
    if name == "countdown":
        from ..tasks.countdown import SPLITS, countdown_dataset

        splits = {split: countdown_dataset(split) for split in SPLITS}
        return DatasetDict({**splits, "test": splits["heldout"]})
    if path.is_file():
        try:
            loaded = load_dataset(LOCAL_FORMATS[path.suffix], data_files=str(path), streaming=streaming)
            if streaming:  # else a file that cannot be read would show in the middle of training
                next(iter(loaded["train"]), None)
            return loaded
        except (DatasetGenerationError, StopIteration, ValueError) as error:
            reason = error.__cause__ or error
            raise ValueError(f"dataset_name={name!r} could not be read as {path.suffix}: {reason}.") from error
    return load_dataset(name, name=config, streaming=streaming)


def column_names(split: AnySplit) -> list[str]:
    """The names of a split's columns; of a stream that does not tell them, those of its first row."""
    return split.column_names or list(next(iter(split), ()))


def pick_split(dataset: AnyDataset, split: str) -> AnySplit:
    """One split by name; an error names those that are there."""
    if split not in dataset:
        raise ValueError(f"split {split!r} is not in the dataset; it has {', '.join(map(repr, dataset))}.")
    return dataset[split]


def to_prompts(dataset: AnySplit, columns: ColumnArguments) -> AnySplit:
    """Bring a split to the columns `prompt` and `solution`; a split that has them already passes unchanged.

    Raises:
        ValueError: when a named column is missing, listing those that are there; for a split without a row; and, while
            a row is converted, for a reference answer that is null or an object.
    """
    names = column_names(dataset)
    if not names or (isinstance(dataset, Dataset) and not len(dataset)):
        raise ValueError("the split holds no row: there is nothing to train on.")
    for argument in ("prompt_column", "solution_column"):
        column = getattr(columns, argument)
        if column is not None and column not in names:
            raise ValueError(f"{argument}={column!r} is not in the dataset; it has {', '.join(map(repr, names))}.")
    if columns == ColumnArguments():
        return dataset

    def convert(row: dict[str, Any]) -> dict[str, Any]:
        prompt = row[columns.prompt_column]
        if isinstance(prompt, str) and (columns.conversational or columns.system_prompt):
            prompt = [{"role": "user", "content": prompt}]
        if columns.system_prompt:
            prompt = [{"role": "system", "content": columns.system_prompt}, *prompt]
        converted = {"prompt": prompt}
        if columns.solution_column:
            solution = row[columns.solution_column]
            if solution is None:
                raise ValueError(f"{columns.solution_column!r} is null for the prompt {row[columns.prompt_column]!r}.")
            if isinstance(solution, dict):
                raise ValueError(
                    f"{columns.solution_column!r} holds objects with the fields {', '.join(map(repr, solution))}; an "
                    "answer is a text, a number or a list of them. Make one of the fields a column of its own."
                )
            solution = solution if isinstance(solution, str) else gold_text(solution)
            if columns.solution_after:
                solution = solution.rpartition(columns.solution_after)[2].strip()
            converted["solution"] = solution
        return converted

    dropped = [c for c in (columns.prompt_column, columns.solution_column) if c and c not in ("prompt", "solution")]
    return dataset.map(convert, remove_columns=dropped)
