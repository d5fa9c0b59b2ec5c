"""Verifiable tasks that come with the package: no download, seconds to start, an exact reward."""

from .countdown import Puzzle, all_puzzles, countdown_dataset, countdown_reward, is_correct, puzzles


__all__ = ["Puzzle", "all_puzzles", "countdown_dataset", "countdown_reward", "is_correct", "puzzles"]
