"""The logged figures, worked by hand on a batch of two sequences."""

import math

import pytest
import torch
from accelerate import Accelerator

from trl_entropy import metrics
from trl_entropy.step.window import StepWindow


MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
ADVANTAGES = torch.tensor([1.0, -1.0])


def totals(*additions) -> dict[str, float]:
    window = StepWindow()
    for addition in additions:
        window.add(*addition)
    return window.close(Accelerator(cpu=True))


def test_covariance_figures():
    """C = 2, -1, 4 and 1, 3 (mean 1.8); selected 4 (positive advantage) and 3 (negative)."""
    covariance = torch.tensor([[2.0, -1.0, 4.0, 99.0], [1.0, 3.0, 99.0, 99.0]])
    selected = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0]]).bool()
    found = metrics.covariance_metrics(totals(metrics.covariance_sums(covariance, selected, ADVANTAGES, MASK)))
    assert found == pytest.approx(
        {
            "cov/mean": 1.8,
            "cov/max": 4.0,
            "cov/selected_share": 0.4,
            "cov/selected_mean": 3.5,
            "cov/selected_negative_share": 0.5,
        }
    )


def test_siren_figures_over_two_micro_batches():
    """Kept 0.9 and 0.5 in the first micro-batch; nothing in the second, whose sequences do not count."""
    entropy = torch.tensor([[0.1, 0.9, 0.2, 9.0], [0.5, 0.3, 9.0, 9.0]])
    kept = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0]]).bool()
    size = torch.tensor([[1.0, 3.0, 2.0, 50.0], [2.0, 2.0, 50.0, 50.0]])
    first = metrics.siren_sums(entropy, size, kept, MASK)
    second = metrics.siren_sums(entropy, size, torch.zeros_like(kept), torch.zeros_like(MASK))
    found = metrics.siren_metrics(totals((first,), (second,)), anchor=0.8, penalty=0.01)
    assert found == pytest.approx(
        {
            "siren/entropy": 0.7,
            "siren/anchor": 0.8,
            "siren/penalty": 0.01,
            "siren/kept_share": 0.4,
            "siren/nucleus_size": 2.0,
        }
    )


def test_entropy_figures():
    """Tokens 0.0 0.1 0.2 0.3 0.4; positive advantage on the first three (mean 0.1), negative on the others (0.35)."""
    entropy = torch.tensor([[0.0, 0.1, 0.2, 9.0], [0.3, 0.4, 9.0, math.nan]])
    found = metrics.entropy_metrics(totals((metrics.entropy_sums(entropy, ADVANTAGES, MASK),)))
    expected = {
        "entropy/q10": 0.0,
        "entropy/q50": 0.2,
        "entropy/q90": 0.4,
        "entropy/positive_advantage": 0.1,
        "entropy/negative_advantage": 0.35,
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_is_not_defined_is_nan_not_zero():
    nothing = torch.zeros_like(MASK)
    sums = metrics.covariance_sums(torch.ones(2, 4), nothing.bool(), ADVANTAGES, nothing)
    assert all(math.isnan(value) for value in metrics.covariance_metrics(totals(sums)).values())
    entropy = metrics.entropy_metrics(totals((metrics.entropy_sums(torch.ones(2, 4), ADVANTAGES, nothing),)))
    assert all(math.isnan(value) for value in entropy.values())


def test_a_window_is_empty_after_it_closes():
    window = StepWindow()
    window.add({"a": torch.tensor(1.0)}, {"b": torch.tensor(2.0)})
    window.add({"a": torch.tensor(2.0)}, {"b": torch.tensor(-1.0)})
    assert window.close(Accelerator(cpu=True)) == {"a": 3.0, "b": 2.0}
    assert window.close(Accelerator(cpu=True)) == {}
