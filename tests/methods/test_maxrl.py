"""MaxRL (arXiv 2602.02710): numbers by hand, and the gradient against the reference."""

import math

import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.advantages import maxrl_advantages
from trl_entropy.methods import Group
from trl_entropy.methods.maxrl import MaxRL


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1, 0, 0, 0], [3, -1, -1, -1]),
        ([1, 1, 0, 0], [1, 1, -1, -1]),
        ([1, 1, 1, 0], [1 / 3, 1 / 3, 1 / 3, -1]),
        ([1, 1, 1, 1], [0, 0, 0, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([1, 0.5, 0, 0], [5 / 3, 1 / 3, -1, -1]),
        ([1, math.nan, 0, math.nan], [1, 0, -1, 0]),
        ([math.nan] * 4, [0, 0, 0, 0]),
    ],
)
def test_by_hand(rewards, expected):
    found = maxrl_advantages(torch.tensor([rewards], dtype=torch.float32))
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float32))


def test_the_gradient_is_the_references(arguments, dataset):
    def of_group(rewards, rows):
        mean = sum(rewards) / len(rewards)
        return [(r - mean) / mean if mean else 0.0 for r in rewards]

    assert_gradient(arguments, dataset, by_prompt(of_group), maxrl=True)


def test_a_negative_reward_is_refused():
    with pytest.raises(ValueError, match=r"reward is -0\.5"):
        MaxRL().group_advantages(Group(torch.tensor([[1.0, -0.5, math.nan]]), torch.zeros(1, 3)))


def test_a_scale_without_effect_warns(arguments):
    with pytest.warns(UserWarning, match="scale_rewards='none' has no effect"):
        EntropyGRPOConfig(**arguments(maxrl=True, scale_rewards="none"))


def test_a_group_of_one_is_refused(arguments):
    with pytest.raises(ValueError, match="at least 2 generations"):
        EntropyGRPOConfig(**arguments(maxrl=True, num_generations=1))
