"""What is asked of an engine and what it returns; the order of work; the seeds."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Sampling:
    """How the n completions of a problem are drawn. Raises `ValueError` for a value out of range, naming it.

    Temperature 0 is greedy, for n = 1 only; `top_p` is the nucleus of the sampling distribution.
    """

    n: int = 8
    temperature: float = 0.6
    top_p: float = 1.0
    max_new_tokens: int = 3072
    seed: int = 0

    def __post_init__(self):
        if self.n < 1:
            raise ValueError(f"n, the samples a problem, must be at least 1, got {self.n}.")
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature must be 0 (greedy) or a positive number, got {self.temperature}.")
        if self.temperature == 0 and self.n > 1:
            raise ValueError(f"temperature 0 is greedy: its {self.n} samples would be equal. Use n 1, or sample.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p}.")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")


@dataclass(frozen=True)
class Completion:
    """One sampled completion: its text without special tokens, and its length in tokens, the end token included.

    Truncated is what was cut at the limit instead of ending. The entropy, in nats, is the mean over its tokens of that
    of the model's own next-token distribution (temperature 1, no nucleus), whatever the sampling temperature; None
    where the engine cannot give it.
    """

    text: str
    tokens: int
    truncated: bool
    entropy: float | None


# A text, or a chat: messages with `role` and `content`
Prompt = str | list[dict[str, Any]]


class Engine(Protocol):
    """Something that generates. `name` is written into the results."""

    name: str

    def lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        """Length in tokens of each prompt, chat template included."""
        ...

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """One completion a prompt; `seeds` has one integer a row."""
        ...


def plan(lengths: Sequence[int], n: int, batch_size: int) -> Iterator[list[tuple[int, int]]]:
    """Batches of `(problem, sample)` rows, longest prompts first.

    Similar lengths share a batch, so little is spent on padding, and a batch that does not fit into memory fails
    first. The plan depends on nothing but its arguments: a resumed evaluation finds the same batches.

    Example:
        >>> list(plan([3, 9], n=2, batch_size=3))
        [[(1, 0), (1, 1), (0, 0)], [(0, 1)]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    rows = [(i, j) for i in order for j in range(n)]
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def row_seed(seed: int, problem: int, sample: int) -> int:
    """A seed for one row, the same on every machine and whatever the batch."""
    digest = hashlib.sha256(f"{seed} {problem} {sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF
