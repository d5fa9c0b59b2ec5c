"""Positive reweighting (arXiv 2511.05993): the weight's course by hand, and the gradient against the reference."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods.pos_reweight import PosReweight, PosReweightState


GIVEN = {"pos_reweight_step": 0.25, "pos_reweight_target": 1.0}


def course(arguments, entropies, **given) -> list[float]:
    """The weight used in each step, and the one after the last."""
    method = PosReweight()
    method.attach(EntropyGRPOConfig(**arguments(**{**GIVEN, **given})))
    used = []
    for entropy in entropies:
        tokens = 0.0 if math.isnan(entropy) else 4.0
        used.append(method.close({"entropy": 4 * entropy if tokens else 0.0, "tokens": tokens})["pos_reweight/weight"])
    return [*used, method.state.weight]


def test_the_weight_falls_below_the_target_and_rises_above_it(arguments):
    assert course(arguments, [0.5, 0.5, 2.0, 0.9]) == [1.0, 0.75, 0.5, 0.75, 0.5]


def test_the_weight_keeps_its_bounds(arguments):
    assert course(arguments, [2.0, 2.0]) == [1.0, 1.0, 1.0]
    assert course(arguments, [2.0, 2.0], pos_reweight_max=1.4) == [1.0, 1.25, 1.4]
    assert course(arguments, [0.1] * 3, pos_reweight_min=0.6) == [1.0, 0.75, 0.6, 0.6]
    assert course(arguments, [0.1] * 5)[-1] == 0.0


def test_a_step_without_a_token_moves_nothing(arguments):
    assert course(arguments, [0.5, math.nan, 0.5]) == [1.0, 0.75, 0.75, 0.5]


@pytest.mark.parametrize("weight", [0.3, 0.0])
def test_the_gradient_is_the_references(weight, arguments, dataset):
    def shape(rows):
        return [[t.advantage * (weight if t.advantage > 0 else 1) for t in row] for row in rows]

    def prepare(method):
        method.state = PosReweightState(weight)

    assert_gradient(arguments, dataset, shape, prepare=prepare, **GIVEN)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pos_reweight_step": 0.05}, "needs pos_reweight_target"),
        ({**GIVEN, "pos_reweight_max": 0.5}, r"pos_reweight_max=0\.5"),
        ({**GIVEN, "pos_reweight_min": 1.5, "pos_reweight_max": 2.0}, r"pos_reweight_min=1\.5"),
        ({**GIVEN, "pos_reweight_min": 1.0}, "no room"),
        ({**GIVEN, "pos_reweight_target": 14.0}, r"pos_reweight_target=14\.0 is not allowed"),
        ({**GIVEN, "pos_reweight_target": 0.0}, r"pos_reweight_target=0\.0 is not allowed"),
        ({"pos_reweight_target": 1.0}, "pos_reweight_step is not set"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))


def test_the_entropy_is_that_of_the_tokens_that_count(arguments):
    method = PosReweight().attach(EntropyGRPOConfig(**arguments(**GIVEN)))
    micro = SimpleNamespace(entropy=torch.tensor([[0.5, 1.5, 7.0]]), mask=torch.tensor([[True, True, False]]))
    sums, _ = method.sums(micro)
    assert {name: float(value) for name, value in sums.items()} == {"entropy": 2.0, "tokens": 2.0}
