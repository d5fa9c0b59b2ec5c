"""Errands: a walk over a small grid that makes four stops, in any order. Longer answers, and very many right ones.

A prompt gives the start, four stops and five walls, `b2 to a1 d5 f3 c6 not c2 c3 e4 a4 f1 :`. A correct completion
states every move and the cell it leads to, `up b3 right c3 ...`. The rules:

* a move leads to the neighbouring cell of a grid of 6 by 6, which must be the cell stated after it;
* the walk enters no wall, and no cell twice, its start included;
* it makes all four stops and ends where it makes the last of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .task import SPLITS, Split, Task


SIZE, STOPS, WALLS = 6, 4, 5
CELLS = tuple(f"{column}{row}" for column in "abcdef" for row in range(1, SIZE + 1))
MOVES = {"up": (0, 1), "down": (0, -1), "left": (-1, 0), "right": (1, 0)}
_SIZES: dict[Split, int] = {"warmup": 6000, "train": 6000, "selection": 600, "heldout": 600}
_ROUTES = 4  # of each puzzle of the warm-up
_TRIES = 20


# cell -> move -> the neighbour it leads to
NEIGHBOURS = {
    cell: {
        move: near
        for move, (across, along) in MOVES.items()
        if (near := f"{chr(ord(cell[0]) + across)}{int(cell[1]) + along}") in CELLS
    }
    for cell in CELLS
}


@dataclass(frozen=True)
class Errand:
    """A start, the stops to make and the walls, all different cells."""

    start: str
    stops: tuple[str, ...]
    walls: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """`b2 to a1 d5 f3 c6 not c2 c3 e4 a4 f1 :`."""
        return f"{self.start} to {' '.join(self.stops)} not {' '.join(self.walls)} :"

    @classmethod
    def read(cls, prompt: str) -> Errand:
        """The errand of a prompt."""
        start, _, *rest = prompt.split()
        return cls(start, tuple(rest[:STOPS]), tuple(rest[STOPS + 1 : -1]))

    def route(self, choice: random.Random) -> str | None:
        """A correct completion: the stops in random order, a random shortest way to each. None where that is stuck."""
        here, walk, seen = self.start, [], {self.start, *self.walls}
        for stop in choice.sample(self.stops, len(self.stops)):
            if stop in seen:
                continue
            distances = _distances(stop, seen - {here})
            if here not in distances:
                return None
            while here != stop:
                ways = NEIGHBOURS[here].items()
                closer = [(move, cell) for move, cell in ways if distances.get(cell, SIZE**2) < distances[here]]
                move, here = choice.choice(closer)
                walk += [move, here]
                seen.add(here)
        return " ".join(walk)


def _distances(goal: str, closed: set[str]) -> dict[str, int]:
    """Steps to `goal` from every cell that is not closed and has a way there."""
    found, edge = {goal: 0}, [goal]
    for cell in edge:
        for near in NEIGHBOURS[cell].values():
            if near not in closed and near not in found:
                found[near] = found[cell] + 1
                edge.append(near)
    return found


def is_route(prompt: str, completion: str) -> bool:
    """Whether `completion` is a correct walk for the errand of `prompt`; all of it must be the walk.

    Example:

        >>> is_route("a1 to a2 b3 b2 c2 not f1 f2 f3 f4 f5 :", "up a2 up a3 right b3 down b2 right c2")
        True
        >>> is_route("a1 to a2 b3 b2 c2 not f1 f2 f3 f4 f5 :", "up a2 right b2 right c2")  # b3 is left out
        False
    """
    errand, words = Errand.read(prompt), completion.split()
    here, seen, left = errand.start, {errand.start, *errand.walls}, set(errand.stops)
    for move, cell in zip(words[::2], words[1::2], strict=False):
        if not left or cell in seen or NEIGHBOURS[here].get(move) != cell:
            return False
        here = cell
        seen.add(cell)
        left.discard(cell)
    return not left and len(words) % 2 == 0


def errands(split: Split) -> tuple[Errand, ...]:
    """The errands of a split, drawn once and for all: 6,000 to warm up, 6,000 to train, 600 and 600 to measure.

    Each can be done, and no two of them, in one split or another, ask the same.
    """
    return _split()[split]


@cache
def _split() -> dict[Split, tuple[Errand, ...]]:
    everything = _drawn()
    return {split: tuple(next(everything) for _ in range(_SIZES[split])) for split in SPLITS}


def _drawn() -> Iterator[Errand]:
    choice, asked = random.Random("errands"), set()
    while True:
        cells = choice.sample(CELLS, 1 + STOPS + WALLS)
        errand = Errand(cells[0], tuple(cells[1 : 1 + STOPS]), tuple(cells[1 + STOPS :]))
        key = (errand.start, frozenset(errand.stops), frozenset(errand.walls))
        if key not in asked and any(errand.route(choice) for _ in range(_TRIES)):
            asked.add(key)
            yield errand


def _lessons() -> list[tuple[str, list[str]]]:
    choice = random.Random("routes")
    lessons = []
    for errand in errands("warmup"):
        routes = [route for _ in range(_ROUTES) if (route := errand.route(choice))]
        if routes:
            lessons.append((errand.prompt, routes))
    return lessons


ERRANDS = Task(
    name="errands",
    prompts=lambda split: [errand.prompt for errand in errands(split)],
    solved=is_route,
    longest=60,
    vocabulary=(*MOVES, *CELLS, "to", "not", ":"),
    lessons=_lessons,
    seconds_per_batch=7.0,
    warmup={"steps": 1500, "batch_size": 64},
)
