"""Entrocraft (arXiv 2604.26326): sides and moving bounds by hand, and the gradient against the reference."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods import Group
from trl_entropy.methods.entrocraft import Entrocraft, EntrocraftState


STILL = {"entrocraft_upper": 0.7, "entrocraft_lower": 0.6}
MOVING = {**STILL, "entrocraft_upper_end": 0.5, "entrocraft_lower_end": 0.4}


def at(arguments, progress: float = 0.0, **given) -> Entrocraft:
    method = Entrocraft()
    method.attach(EntropyGRPOConfig(**arguments(**given)))
    method.group_advantages(Group(torch.zeros(1, 2), torch.zeros(1, 2), progress=progress))
    return method


def test_which_side_and_what_is_kept(arguments):
    method = at(arguments, **STILL)
    advantages = torch.tensor([[2.0, -3.0, 0.0]])
    for entropy, side, kept in (
        (None, 0, [2.0, -3.0, 0.0]),
        (0.71, 1, [2.0, 0.0, 0.0]),
        (0.7, 0, [2.0, -3.0, 0.0]),
        (0.65, 0, [2.0, -3.0, 0.0]),
        (0.6, 0, [2.0, -3.0, 0.0]),
        (0.59, -1, [0.0, -3.0, 0.0]),
    ):
        method.state = EntrocraftState(entropy)
        assert method.side() == side
        assert method.shape(advantages, None).tolist() == [kept]  # pyright: ignore[reportArgumentType]


def test_it_acts_on_the_step_before_and_logs_what_it_did(arguments):
    method = at(arguments, **STILL)
    assert method.close({"entropy": 1.6, "tokens": 2.0}) == {"entrocraft/side": 0}
    assert method.close({"entropy": 0.0, "tokens": 0.0}) == {"entrocraft/side": 1}  # no token: 0.8 nats stand
    assert method.close({"entropy": 0.2, "tokens": 2.0}) == {"entrocraft/side": 1}
    assert method.side() == -1


@pytest.mark.parametrize(
    ("progress", "schedule", "share"),
    [
        (0.0, "linear", 0.0),
        (0.25, "linear", 0.25),
        (1.0, "linear", 1.0),
        (0.0, "cosine", 0.0),
        (0.25, "cosine", 0.146447),
        (0.5, "cosine", 0.5),
        (1.0, "cosine", 1.0),
    ],
)
def test_bounds_over_the_training(progress, schedule, share, arguments):
    low, high = at(arguments, progress, **MOVING, entrocraft_schedule=schedule).bounds()
    assert (low, high) == pytest.approx((0.6 - 0.2 * share, 0.7 - 0.2 * share), abs=1e-6)


def test_a_bound_without_an_end_stays(arguments):
    assert at(arguments, 1.0, **STILL, entrocraft_upper_end=0.65).bounds() == pytest.approx((0.6, 0.65))


@pytest.mark.parametrize(("entropy", "sign"), [(0.8, 1), (0.2, -1)])
def test_the_gradient_is_the_references(entropy, sign, arguments, dataset):
    def shape(rows):
        return [[t.advantage if sign * t.advantage > 0 else 0.0 for t in row] for row in rows]

    def prepare(method):
        method.state = EntrocraftState(entropy)

    assert_gradient(arguments, dataset, shape, prepare=prepare, **STILL)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"entrocraft_upper": 0.7}, "needs entrocraft_lower"),
        ({"entrocraft_upper": 0.5, "entrocraft_lower": 0.5}, "crossed"),
        ({**STILL, "entrocraft_upper_end": 0.55}, "crossed"),
        ({**STILL, "entrocraft_lower_end": 0.8}, "crossed"),
        ({**STILL, "entrocraft_schedule": "cosine"}, "no bound moves"),
        ({"entrocraft_upper": math.inf, "entrocraft_lower": 0.1}, "entrocraft_upper=inf is not allowed"),
        ({"entrocraft_upper": 0.7, "entrocraft_lower": -0.1}, r"entrocraft_lower=-0\.1 is not allowed"),
        ({"entrocraft_lower": 0.1}, "entrocraft_upper is not set"),
        ({"entrocraft_upper": 14.0, "entrocraft_lower": 0.1}, r"entrocraft_upper=14\.0 is not allowed"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))


def test_the_entropy_is_that_of_the_tokens_that_count(arguments):
    method = Entrocraft().attach(EntropyGRPOConfig(**arguments(**STILL)))
    micro = SimpleNamespace(entropy=torch.tensor([[0.5, 1.5, 7.0]]), mask=torch.tensor([[True, True, False]]))
    sums, _ = method.sums(micro)
    assert {name: float(value) for name, value in sums.items()} == {"entropy": 2.0, "tokens": 2.0}
