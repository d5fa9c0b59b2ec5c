"""W-REINFORCE and NSR (arXiv 2506.01347): by hand, and the gradient against the reference."""

import math

import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods import METHODS, Group
from trl_entropy.methods.w_reinforce import WReinforce


def method(arguments, **given) -> WReinforce:
    it = WReinforce()
    it.attach(EntropyGRPOConfig(**arguments(**given)))
    return it


@pytest.mark.parametrize(("weight", "gain", "right"), [(0.1, 1.0, 0.1), (0.0, 1.0, 0.0), (0.1, 3.0, 0.3)])
def test_by_hand_without_a_baseline(weight, gain, right, arguments):
    it = method(arguments, w_reinforce_positive=weight)
    it.gain = gain
    group = Group(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), torch.full((3, 2), 9.0))
    expected = torch.tensor([[right, -1.0], [-1.0, -1.0], [right, right]])
    torch.testing.assert_close(it.group_advantages(group), expected)


def test_by_hand_with_trls_advantage(arguments):
    it = method(arguments, w_reinforce_positive=0.25, w_reinforce_baseline="group")
    group = Group(torch.tensor([[0.7, 0.1, 0.4]]), torch.tensor([[2.0, -2.0, 0.0]]))
    assert it.group_advantages(group).tolist() == [[0.5, -2.0, 0.0]]


def test_the_gradient_is_the_references(arguments, dataset):
    shape = by_prompt(lambda rewards, rows: [0.1 * r - (1 - r) for r in rewards])
    assert_gradient(arguments, dataset, shape, w_reinforce_positive=0.1)


def test_rewards_that_are_not_0_or_1_are_refused(arguments):
    it = method(arguments, w_reinforce_positive=0.1)
    with pytest.raises(ValueError, match=r"one is 0\.5"):
        it.group_advantages(Group(torch.tensor([[1.0, 0.5, math.nan]]), torch.zeros(1, 3)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"w_reinforce_positive": -0.1}, r"w_reinforce_positive=-0\.1 is not allowed"),
        ({"w_reinforce_positive": 1.0, "w_reinforce_baseline": "group"}, "changes nothing"),
        ({"w_reinforce_positive": 0.1, "w_reinforce_baseline": "batch"}, "w_reinforce_baseline='batch'"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))


@pytest.mark.parametrize("other", [m for m in METHODS if m.replaces_advantage], ids=lambda m: m.key)
def test_without_a_baseline_it_would_undo_what_made_the_advantages(other, arguments):
    given = {**other.example, "w_reinforce_positive": 0.1}
    with pytest.raises(ValueError, match="w_reinforce_baseline"):
        EntropyGRPOConfig(**arguments(**given))
    EntropyGRPOConfig(**arguments(**given, w_reinforce_baseline="group"))
