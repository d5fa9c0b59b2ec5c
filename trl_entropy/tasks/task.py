"""What a study needs of a task: prompts in four splits, an exact check, and a policy to start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args


if TYPE_CHECKING:
    from datasets import Dataset

Split = Literal["warmup", "train", "selection", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""The splits of a task; no two of them share a prompt."""


@dataclass(frozen=True)
class Task:
    """A verifiable task for a model small enough for a CPU core.

    Attributes:
        name: Its name in study files and folders.
        prompts: The prompts of a split. Settings are chosen on `selection`, figures reported on `heldout`.
        solved: Whether a completion answers a prompt.
        longest: Tokens of a completion at most, the end token included.
        vocabulary: The words beside padding, end and unknown; none where the warm-up begins from a pretrained model.
        lessons: For the warm-up: prompts, all of one length in tokens, each with correct completions.
        warmup: The warm-up's settings, `WarmupSettings`' arguments; `model` is what it begins from.
        training: Arguments of a run that differ from `study.matrix.TRAINING`.
        seconds_per_batch: What a batch of 48 prompts takes plain GRPO on one thread of a quiet machine, with its share
            of the evaluations: an estimate for planning.
        readable: Whether a completion is an answer at all, right or wrong; None where nothing is measured of that.
        base_made_by: The command that makes the pretrained model that the warm-up begins from.
    """

    name: str
    prompts: Callable[[Split], Sequence[str]]
    solved: Callable[[str, str], bool]
    longest: int
    vocabulary: tuple[str, ...]
    lessons: Callable[[], Sequence[tuple[str, Sequence[str]]]]
    seconds_per_batch: float
    warmup: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    readable: Callable[[str], bool] | None = None
    base_made_by: str = ""

    def dataset(self, split: Split = "train") -> Dataset:
        """One split with the column `prompt`."""
        from datasets import Dataset

        return Dataset.from_dict({"prompt": list(self.prompts(split))})

    def reward(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
        """1 for a correct completion, 0 otherwise, in TRL's calling convention."""
        return [float(self.solved(*pair)) for pair in zip(prompts, completions, strict=True)]
