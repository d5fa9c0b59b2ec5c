"""Read what runs leave behind: folders, trainer states, JSONL, CSV, TensorBoard and trackio. No torch."""

from .find import read_run, read_runs
from .records import Problem, Run, RunLogError, Series, unexpected


__all__ = ["Problem", "Run", "RunLogError", "Series", "read_run", "read_runs", "unexpected"]
