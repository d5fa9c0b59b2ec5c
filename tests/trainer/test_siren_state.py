"""SIREN's anchor and what it remembers: when a saved one counts, and what is never taken for a measurement."""

import math

import pytest
import torch

from tests.trainer.rig import fixed_batch, make_trainer, step_gradient, with_old_logps
from trl_entropy import EntropyGRPOConfig
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
