"""Evaluation as the papers do it: n samples a problem, generated once, graded once, every figure from them."""

from .estimators import distinct_correct, g_pass_at_k, maj_at_k, mg_pass_at_k, pass_at_k
from .intervals import PairedTest, bootstrap_interval, paired_test


__all__ = [
    "PairedTest",
    "bootstrap_interval",
    "distinct_correct",
    "g_pass_at_k",
    "maj_at_k",
    "mg_pass_at_k",
    "paired_test",
    "pass_at_k",
]
