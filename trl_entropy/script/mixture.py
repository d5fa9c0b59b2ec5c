"""Several datasets as one: `datasets:` of the YAML file, TRL's mixture, with errors that say which entry is wrong."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError
from trl import DatasetMixtureConfig, get_dataset
from trl.scripts.utils import DatasetConfig

from .data import LOCAL_FORMATS, AnyDataset, check_dataset_arguments


@dataclass
class Mixture(DatasetMixtureConfig):
    """TRL's mixture of datasets, refused with a reason where TRL would fail halfway.

    Each entry of `datasets` has a `path`: a Hub id, a folder, a file as for `dataset_name`, or a format such as
    `json`. It may have what else `load_dataset` takes (`name`, `data_dir`, `data_files`, `split`), the `columns` to
    keep, and its `fraction` of the whole.
    """

    def __post_init__(self):
        known = [field.name for field in fields(DatasetConfig)]
        entries: Any = self.datasets  # whatever the file holds
        if not isinstance(entries, list):
            raise ValueError(f"datasets is a {type(entries).__name__}. Give a list; each entry has a path.")
        for number, entry in enumerate(entries, 1):
            if isinstance(entry, DatasetConfig):
                continue
            if not isinstance(entry, dict) or not entry.get("path"):
                raise ValueError(f"datasets: entry {number}, {entry!r}, has no path. Give one of {', '.join(known)}.")
            unknown = sorted(str(key) for key in entry.keys() - set(known))
            if unknown:
                raise ValueError(
                    f"datasets: entry {number} has {', '.join(unknown)}, which is not known. Give {', '.join(known)}."
                )
        super().__post_init__()
        if self.streaming and self.test_split_size is not None:
            raise ValueError("test_split_size has no meaning with streaming=True: a stream's length is not known.")
        if any(entry.fraction is not None and entry.fraction <= 0 for entry in self.datasets):
            raise ValueError("datasets: a fraction must be above 0. Leave out what is not to be used.")

    def check_files(self) -> None:
        """Raise what [`check_dataset_arguments`] raises for the paths that are files."""
        for entry in self.datasets:
            check_dataset_arguments(entry.path, argument="datasets: path")

    def load(self, seed: int) -> AnyDataset:
        """The split `train`, and `test` with `test_split_size`, drawn with `seed`: the same rows on every process.

        Raises:
            ValueError, OSError: for what cannot be found, read or put together.
        """
        try:
            whole = get_dataset(replace(self, datasets=[_of_file(e) for e in self.datasets], test_split_size=None))
        except DatasetGenerationError as error:
            raise ValueError(f"datasets could not be read: {error.__cause__ or error}.") from error
        train = whole["train"]
        if self.test_split_size is None or not isinstance(train, Dataset):
            return whole
        return DatasetDict(train.train_test_split(test_size=self.test_split_size, seed=seed))


def _of_file(entry: DatasetConfig) -> DatasetConfig:
    """An entry whose path is a file, as `load_dataset` takes it."""
    kind = LOCAL_FORMATS.get(Path(entry.path).suffix)
    return entry if kind is None else replace(entry, path=kind, data_files=entry.path)
