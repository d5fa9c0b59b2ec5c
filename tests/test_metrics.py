"""The logged numbers, worked by hand on a batch of two sequences."""

import math
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from trl_entropy import metrics
from trl_entropy.functional.covariance import per_token
from trl_entropy.methods import Micro, View
from trl_entropy.methods.kl_cov import KLCov
from trl_entropy.methods.siren import Siren
from trl_entropy.step.window import StepWindow


MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()
ADVANTAGES = per_token(torch.tensor([1.0, -1.0]), MASK)
NOTHING = torch.zeros_like(MASK)


def totals(*additions) -> dict[str, float]:
    window = StepWindow()
    for addition in additions:
        window.add("part", *addition)
    return window.close(Accelerator(cpu=True))["part"]


def covariance_numbers(covariance, selected, advantages=ADVANTAGES, mask=MASK, informative=None, tokens="all"):
    method = KLCov()
    method.args = SimpleNamespace(cov_tokens=tokens)
    view = View(advantages, mask, mask if informative is None else informative, {})
    return method.close_selection(
        totals(method.selection_sums(view, {"covariance": covariance, "selected": selected}))
    )


def test_covariance_numbers():
    """C = 2, -1, 4 and 1, 3 (mean 1.8); selected 4 (positive advantage) and 3 (negative)."""
    covariance = torch.tensor([[2.0, -1.0, 4.0, 99.0], [1.0, 3.0, 99.0, 99.0]])
    selected = torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0]]).bool()
    expected = {
        "cov/mean": 1.8,
        "cov/max": 4.0,
        "cov/informative_share": 1.0,
        "cov/selected_share": 0.4,
        "cov/selected_mean": 3.5,
        "cov/selected_negative_share": 0.5,
    }
    assert covariance_numbers(covariance, selected) == pytest.approx(expected)
    # an advantage of 0 is not negative
    zero = torch.zeros_like(ADVANTAGES)
    assert covariance_numbers(covariance, selected, zero)["cov/selected_negative_share"] == 0
    # only the first sequence's prompt has a gradient: mean 5/3 of its three tokens, still shares of all five
    first = MASK & torch.tensor([[True], [False]])
    found = covariance_numbers(covariance, selected & first, informative=first, tokens="informative")
    assert found["cov/mean"] == pytest.approx(5 / 3)
    assert (found["cov/informative_share"], found["cov/selected_share"]) == (0.6, 0.2)


def test_siren_numbers_over_two_micro_batches():
    """Kept are 0.9 of (0.1, 0.9, 0.2) and 0.5 of (0.5, 0.3); nothing in the second, whose sequences do not count."""
    method = Siren()
    method.args = SimpleNamespace(siren_quantile=0.6, siren_coef=2.0, siren_penalty="two_sided")
    method.state = Siren.State(anchor=0.8)
    size = torch.tensor([[1.0, 3.0, 2.0, 50.0], [2.0, 2.0, 50.0, 50.0]])
    entropy = torch.tensor([[0.1, 0.9, 0.2, 9.0], [0.5, 0.3, 9.0, 9.0]])

    def sums(mask):
        micro = Micro({}, mask, ADVANTAGES, moved=True, informative=mask)
        micro.head = {"nucleus_entropy": entropy, "nucleus_size": size}
        return method.sums(micro)

    expected = {
        "siren/entropy": 0.7,
        "siren/anchor": 0.8,
        "siren/penalty": 2.0 * 0.1**2,
        "siren/kept_share": 0.4,
        "siren/nucleus_size": 2.0,
    }
    assert method.close(totals(sums(MASK), sums(NOTHING))) == pytest.approx(expected, rel=1e-5)
    assert method.state.counted_share == 0.5
    # a step in which nothing was finite leaves the last entropy standing
    found = method.close({**totals(sums(MASK)), "sequence_entropy": math.inf})
    assert method.state.entropy == pytest.approx(0.7) and math.isnan(found["siren/penalty"])


def test_entropy_numbers():
    """Tokens 0.0 0.1 0.2 0.3 0.4; positive advantage on the first three (mean 0.1), negative on the others (0.35)."""
    entropy = torch.tensor([[0.0, 0.1, 0.2, 9.0], [0.3, 0.4, 9.0, math.nan]])
    sums = totals((metrics.entropy_sums(entropy, ADVANTAGES, MASK),))
    expected = {
        "entropy/q10": 0.0,
        "entropy/q50": 0.2,
        "entropy/q90": 0.4,
        "entropy/positive_advantage": 0.1,
        "entropy/negative_advantage": 0.35,
    }
    assert metrics.entropy_metrics(sums) == pytest.approx(expected, abs=1e-6)
    assert (sums["entropy"], sums["tokens"]) == (pytest.approx(1.0), 5)


def test_masses():
    """Advantages 2 on three tokens and -1 on two: 6 / 5 up, 2 / 5 down."""
    advantages = per_token(torch.tensor([2.0, -1.0]), MASK)
    found = metrics.mass_metrics(totals((metrics.mass_sums(advantages, MASK),)), 0.25)
    assert found == pytest.approx(
        {
            "advantage/positive_mass": 1.2,
            "advantage/negative_mass": 0.4,
            "advantage/prompts_with_gradient": 0.25,
        }
    )


def test_what_is_not_defined_is_nan_not_zero():
    assert all(math.isnan(value) for value in covariance_numbers(torch.ones(2, 4), NOTHING, mask=NOTHING).values())
    entropy = metrics.entropy_metrics(totals((metrics.entropy_sums(torch.ones(2, 4), ADVANTAGES, NOTHING),)))
    assert all(math.isnan(value) for value in entropy.values())


def test_a_window_is_empty_after_it_closes():
    window = StepWindow()
    window.add("x", {"a": torch.tensor(1.0)}, {"b": torch.tensor(2.0)})
    window.add("x", {"a": torch.tensor(2.0)}, {"b": torch.tensor(-1.0)})
    window.add("y", {"a": torch.tensor(9.0)})
    assert window.close(Accelerator(cpu=True)) == {"x": {"a": 3.0, "b": 2.0}, "y": {"a": 9.0}}
    assert window.close(Accelerator(cpu=True)) == {}
