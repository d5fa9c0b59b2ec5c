"""Verifiable tasks that come with the package: no download, seconds to start, an exact reward."""

from .countdown import COUNTDOWN, Puzzle, all_puzzles, countdown_dataset, countdown_reward, is_correct, puzzles
from .errands import ERRANDS
from .sums import SUMS
from .task import SPLITS, Task


__all__ = [
    "SPLITS",
    "TASKS",
    "Puzzle",
    "Task",
    "all_puzzles",
    "countdown_dataset",
    "countdown_reward",
    "is_correct",
    "puzzles",
]

TASKS: dict[str, Task] = {task.name: task for task in (COUNTDOWN, ERRANDS, SUMS)}
"""The built-in tasks by name."""
