"""SIREN's anchor and what it remembers: when a saved one counts, and what is never taken for a measurement."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.trainer.rig import fixed_batch, make_trainer, step_gradient, with_old_logps
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.siren import Siren


CONDITIONS = {"siren_top_p": 0.8, "siren_quantile": 0.8, "siren_nucleus": "inclusive", "temperature": 1.0}
TOTALS = {"sequence_entropy": 6.0, "sequences_counted": 4.0, "sequences": 8.0, "kept": 8.0, "tokens": 80.0}
TOTALS["nucleus_size"] = 240.0


def siren(arguments, **given) -> Siren:
    return Siren().attach(EntropyGRPOConfig(**arguments(siren_coef=0.5, **given)))


@pytest.mark.parametrize(
    ("changed", "anchor"),
    [
        ({}, 0.6),
        ({"siren_top_p": 0.9}, None),
        ({"siren_quantile": 0.7}, None),
        ({"siren_nucleus": "exclusive"}, None),
        ({"temperature": 0.9}, None),
        ({"temperature": 0.9, "siren_anchor": 0.4}, 0.4),
        ({"learning_rate": 1e-9, "seed": 99}, 0.6),
    ],
    ids=str,
)
def test_a_saved_anchor_counts_under_its_conditions_only(changed, anchor, arguments):
    method = siren(arguments, **changed)
    method.resume({"anchor": 0.6, "entropy": 0.5, "measured_under": CONDITIONS, "counted_share": 0.75}, "checkpoint-2")
    assert method.state.anchor == anchor
    assert method.state.entropy == (0.5 if anchor == 0.6 else None)


def test_a_given_anchor_is_kept_with_its_conditions(arguments):
    state = siren(arguments, siren_anchor=0.4).state
    assert (state.anchor, state.measured_under) == (0.4, CONDITIONS)


def test_a_step_by_hand(arguments):
    method = siren(arguments, siren_anchor=1.0)
    assert method.close(TOTALS) == {
        "siren/entropy": 1.5,
        "siren/anchor": 1.0,
        "siren/penalty": 0.125,  # 0.5 (1.5 - 1)^2
        "siren/kept_share": 0.1,
        "siren/nucleus_size": 3.0,
    }
    assert (method.state.entropy, method.state.counted_share) == (1.5, 0.5)


def test_the_share_that_counts_is_an_average_over_steps(arguments):
    method = siren(arguments)
    for counted, share in ((4.0, 0.5), (8.0, 0.9 * 0.5 + 0.1 * 1.0), (0.0, 0.55)):  # of the last nothing was measured
        method.close({**TOTALS, "sequences_counted": counted})
        assert method.state.counted_share == pytest.approx(share)


@pytest.mark.parametrize("broken", [{"sequence_entropy": math.nan}, {"sequence_entropy": math.inf}])
def test_a_step_that_is_not_finite_is_no_measurement(broken, arguments):
    """The penalty goes on from the step before; the log says that this one has none."""
    method = siren(arguments, siren_anchor=1.0)
    method.close(TOTALS)
    numbers = method.close({**TOTALS, **broken, "sequences_counted": 8.0})
    assert (method.state.entropy, method.state.counted_share) == (1.5, 0.5)
    assert math.isnan(numbers["siren/penalty"])


@pytest.mark.parametrize("anchor", [0.1, 3.0])
def test_under_a_given_anchor_the_first_step_only_measures(anchor, arguments, dataset):
    """The second, from the same weights, is penalised."""
    batch = with_old_logps(plain := make_trainer(arguments(loss_type="dr_grpo"), dataset), fixed_batch())
    trainer = make_trainer(arguments(loss_type="dr_grpo", siren_coef=0.7, siren_anchor=anchor), dataset)
    expected = step_gradient(plain, batch, 2)
    torch.testing.assert_close(step_gradient(trainer, batch, 2), expected, atol=1e-6, rtol=1e-5)
    assert (step_gradient(trainer, batch, 2) - expected).abs().max() > 1e-3


# Nucleus entropies whose peaks above the median are 0.8 and 0.9, and 0.3; a single token has none; padding is 9
ENTROPIES = torch.tensor([[0.2, 0.8, 0.9, 0.1], [0.1, 0.3, 9.0, 9.0], [0.4, 9.0, 9.0, 9.0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)


def micro_batch() -> SimpleNamespace:
    head = {"nucleus_entropy": ENTROPIES.clone().requires_grad_(), "nucleus_size": torch.full((3, 4), 2.0)}
    return SimpleNamespace(head=head, mask=MASK)


def test_the_anchor_by_hand(arguments):
    """(0.85 + 0.3) / 2: a completion without a peak is not in the mean. The second rollout changes nothing."""
    method = siren(arguments, siren_quantile=0.5)
    for scored in (ENTROPIES, ENTROPIES + 1):
        method.generated(View(torch.ones(3, 4), MASK, MASK, {"nucleus_entropy": scored}), Scope())
    assert method.state.anchor == pytest.approx(0.575)


def test_the_sums_of_a_micro_batch_by_hand(arguments):
    sums, _ = siren(arguments, siren_quantile=0.5).sums(micro_batch())
    assert {name: float(value) for name, value in sums.items()} == {
        "sequence_entropy": pytest.approx(1.15),
        "sequences_counted": 2.0,
        "sequences": 3.0,
        "kept": 3.0,
        "tokens": 7.0,
        "nucleus_size": 14.0,
    }


@pytest.mark.parametrize(
    ("given", "anchor", "value", "slope"),
    [
        ({}, 0.5, 0.5 * 0.075**2, 0.075),
        ({}, 0.6, 0.5 * 0.025**2, -0.025),
        ({"siren_penalty": "lower"}, 0.5, 0.0, 0.0),
        ({"siren_penalty": "lower"}, 0.6, 0.5 * 0.025**2, -0.025),
    ],
)
def test_the_penalty_of_a_micro_batch_by_hand(given, anchor, value, slope, arguments):
    """beta 0.5, H = 0.575: `2 beta (H - anchor)` times half of each mean, a quarter and a half a token."""
    method = siren(arguments, siren_quantile=0.5, entropy_scope="micro_batch", siren_anchor=anchor, **given)
    micro = micro_batch()
    loss = method.loss(micro)
    assert loss.item() == pytest.approx(value, abs=1e-7)
    loss.backward()
    expected = torch.zeros(3, 4)
    expected[0, 1] = expected[0, 2] = slope / 4
    expected[1, 1] = slope / 2
    torch.testing.assert_close(micro.head["nucleus_entropy"].grad, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("side", "slope"), [("two_sided", 0.2), ("lower", 0.0)])
def test_the_penalty_at_batch_scope_by_hand(side, slope, arguments):
    """beta 0.5 times a gain of 2, the step before 0.1 above the anchor: 2 * 1 * 0.1 times the mean's own slope."""
    method = siren(arguments, siren_quantile=0.5, siren_anchor=0.6, siren_penalty=side)
    method.gain, method.state.entropy, method.state.counted_share = 2.0, 0.7, 0.5
    micro = micro_batch()
    loss = method.loss(micro)
    assert loss.item() == pytest.approx(slope * 0.05, abs=1e-7)
    loss.backward()
    expected = torch.zeros(3, 4)  # three completions of which half counted in the steps before: 1.5 of them
    expected[0, 1] = expected[0, 2] = slope / 1.5 / 2
    expected[1, 1] = slope / 1.5
    torch.testing.assert_close(micro.head["nucleus_entropy"].grad, expected, atol=1e-6, rtol=1e-5)
