"""Verifiable rewards that nothing can hang. Imports neither torch nor math-verify: that is the workers' business."""

from .accuracy import MathReward, completion_text, math_reward
from .extract import extract_answer
from .format import format_reward
from .golds import gold_answer, gold_text, unreadable
from .numbers import quick_verdict
from .pool import GradingPool, Verdict


__all__ = [
    "GradingPool",
    "MathReward",
    "Verdict",
    "completion_text",
    "extract_answer",
    "format_reward",
    "gold_answer",
    "gold_text",
    "math_reward",
    "quick_verdict",
    "unreadable",
]
