"""The countdown chain: a verifiable reasoning task that needs no download and is solved by counting.

A prompt gives three numbers and a target, `3 5 2 -> 17 :`. A correct completion combines the numbers from left to
right and states every running value, `3 * 5 = 15 + 2 = 17`. The rules:

* three numbers from 1 to 20, each used exactly once, in any order;
* the operators `+`, `-` and `*`, applied left to right, without precedence;
* every running value lies in 0..99.

A puzzle is a multiset of three numbers with a target that some chain reaches. There are 13,486, all enumerated. Most
have more than one solution, so a policy can stay correct and still lose its variety, which is what the demo looks at.
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement, permutations, product
from typing import TYPE_CHECKING, Any

from .task import SPLITS, Split, Task


if TYPE_CHECKING:
    from datasets import Dataset


SMALLEST, LARGEST = 1, 20
MAX_VALUE = 99
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}

# Upper ends on the unit interval: 40 % warm-up, 50 % RL, 5 % to choose settings on, 5 % to report on.
_SPLIT_ENDS = (0.40, 0.90, 0.95, 1.00)

_VALUE = r"(0|[1-9][0-9]?)"
_CHAIN = re.compile(
    rf"\s*{_VALUE}\s+([-+*])\s+{_VALUE}\s+=\s+{_VALUE}\s+([-+*])\s+{_VALUE}\s+=\s+{_VALUE}\s*", re.ASCII
)


@dataclass(frozen=True, order=True)
class Puzzle:
    """Three numbers in ascending order and a target that some chain over them reaches."""

    numbers: tuple[int, int, int]
    target: int

    def _digest(self) -> bytes:
        return hashlib.sha256(f"countdown {self.numbers} {self.target}".encode()).digest()

    @property
    def split(self) -> Split:
        """The one split this puzzle belongs to, decided by a hash of the puzzle itself and by nothing else."""
        position = int.from_bytes(self._digest()[:8], "big") / 2**64
        return next(name for name, end in zip(SPLITS, _SPLIT_ENDS, strict=True) if position < end)

    @property
    def prompt(self) -> str:
        """The prompt, its numbers in an order that the puzzle's hash fixes: `3 5 2 -> 17 :`."""
        orders = sorted(set(permutations(self.numbers)))
        order = orders[self._digest()[8] % len(orders)]
        return f"{' '.join(map(str, order))} -> {self.target} :"

    @property
    def solutions(self) -> tuple[str, ...]:
        """Every correct completion, sorted. Chains that differ in the order of their numbers count as different."""
        return _chains_by_target(self.numbers).get(self.target, ())


@cache
def _chains_by_target(numbers: tuple[int, int, int]) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for a, b, c in sorted(set(permutations(numbers))):
        for first, second in product(OPERATORS, repeat=2):
            running = OPERATORS[first](a, b)
            final = OPERATORS[second](running, c)
            if 0 <= running <= MAX_VALUE and 0 <= final <= MAX_VALUE:
                found.setdefault(final, []).append(f"{a} {first} {b} = {running} {second} {c} = {final}")
    return {target: tuple(sorted(chains)) for target, chains in found.items()}


def _enumerate() -> Iterator[Puzzle]:
    for numbers in combinations_with_replacement(range(SMALLEST, LARGEST + 1), 3):
        for target in sorted(_chains_by_target(numbers)):
            yield Puzzle(numbers, target)


@cache
def all_puzzles() -> tuple[Puzzle, ...]:
    """All 13,486 puzzles, in ascending order of their numbers, then of their target.

    Example:

        >>> len(all_puzzles())
        13486
    """
    return tuple(_enumerate())


@cache
def puzzles(split: Split) -> tuple[Puzzle, ...]:
    """The puzzles of one of the four disjoint splits.

    Warm-up and RL do not share puzzles: a policy that meets the warm-up's puzzles again raises its train reward by
    memorising. Method settings are chosen on `"selection"`, figures are reported on `"heldout"`.

    Args:
        split: `"warmup"` (40 %), `"train"` (50 %), `"selection"` (5 %) or `"heldout"` (5 %).

    Raises:
        ValueError: For any other name.
    """
    if split not in SPLITS:
        raise ValueError(f"there is no countdown split {split!r}; choose one of {', '.join(SPLITS)}")
    return tuple(puzzle for puzzle in all_puzzles() if puzzle.split == split)


def is_correct(completion: str, numbers: Sequence[int], target: int) -> bool:
    """Whether `completion` is a correct chain over `numbers` that ends at `target`.

    All of the completion must be the chain: text before or after it, a number outside 0..99, one with a sign or
    leading zero, or a digit that is not ASCII makes it wrong.

    Example:

        >>> is_correct("3 * 5 = 15 + 2 = 17", [3, 5, 2], 17)
        True
        >>> is_correct("3 * 5 = 16 + 2 = 17", [3, 5, 2], 17)  # a wrong running value
        False
    """
    match = _CHAIN.fullmatch(completion)
    if match is None:
        return False
    a, first, b, running, second, c, final = match.groups()
    return (
        sorted((int(a), int(b), int(c))) == sorted(numbers)
        and OPERATORS[first](int(a), int(b)) == int(running)
        and OPERATORS[second](int(running), int(c)) == int(final)
        and int(final) == target
    )


def _solved(prompt: str, completion: str) -> bool:
    *numbers, _, target, _ = prompt.split()
    return is_correct(completion, [int(number) for number in numbers], int(target))


COUNTDOWN = Task(
    name="countdown",
    prompts=lambda split: [puzzle.prompt for puzzle in puzzles(split)],
    solved=_solved,
    longest=11,
    vocabulary=(*OPERATORS, "=", "->", ":", *map(str, range(MAX_VALUE + 1))),
    lessons=lambda: [(puzzle.prompt, puzzle.solutions) for puzzle in puzzles("warmup")],
    seconds_per_batch=1.5,
)


def countdown_reward(
    prompts: list[Any],
    completions: list[Any],
    numbers: list[list[int]],
    target: list[int],
    **columns: Any,
) -> list[float]:
    """Reward 1 for a correct chain, 0 otherwise, in TRL's calling convention.

    Args:
        prompts: (B,) prompts, unused: the columns say what was asked.
        completions: (B,) completions, each a string or a conversation whose last message is graded.
        numbers: (B,) the dataset's column of three numbers.
        target: (B,) the dataset's column of targets.
        **columns: TRL's other columns, ignored.

    Example:

        >>> countdown_reward([""], ["3 * 5 = 15 + 2 = 17"], numbers=[[3, 5, 2]], target=[17])
        [1.0]
    """
    texts = [completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions]
    return [float(is_correct(text, given, goal)) for text, given, goal in zip(texts, numbers, target, strict=True)]


def countdown_dataset(split: Split = "train") -> Dataset:
    """One split as a `datasets.Dataset` with the columns `prompt`, `numbers` and `target`."""
    from datasets import Dataset

    chosen = puzzles(split)
    return Dataset.from_dict(
        {
            "prompt": [puzzle.prompt for puzzle in chosen],
            "numbers": [list(puzzle.numbers) for puzzle in chosen],
            "target": [puzzle.target for puzzle in chosen],
        }
    )
