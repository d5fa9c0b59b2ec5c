"""MaxRL (arXiv 2602.02710): numbers by hand, and the gradient against the reference."""

import math
import warnings

import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from tests.trainer.rig import make_trainer
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


def test_the_gradient_of_a_mixture_is_the_references(arguments, dataset):
    def of_group(rewards, rows):
        mean = sum(rewards) / len(rewards)
        ours = [(r - mean) / mean if mean else 0.0 for r in rewards]
        return [0.6 * a + 0.4 * row[0].advantage for a, row in zip(ours, rows, strict=True)]

    assert_gradient(arguments, dataset, by_prompt(of_group), maxrl=True, maxrl_mix=0.6)


@pytest.mark.parametrize(
    ("hold", "progress", "weight"),
    [(0.0, 0.0, 0.8), (0.0, 0.25, 0.6), (0.0, 1.0, 0.0), (0.6, 0.3, 0.8), (0.6, 0.7, 0.6), (0.6, 1.0, 0.0)],
)
def test_mixed_and_annealed(hold, progress, weight, arguments):
    given = {"maxrl": True, "maxrl_mix": 0.8, "maxrl_mix_end": 0.0, "maxrl_mix_hold": hold}
    method = MaxRL().attach(EntropyGRPOConfig(**arguments(**given)))
    group = Group(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[4.0, 2.0, -3.0, 0.0]]), progress=progress)
    expected = [[a * weight + b * (1 - weight) for a, b in zip([3, -1, -1, -1], [4, 2, -3, 0], strict=True)]]
    torch.testing.assert_close(method.group_advantages(group), torch.tensor(expected))
    assert method.close({}) == {"maxrl/mix": pytest.approx(weight)}


def test_the_weight_follows_the_training(arguments, dataset):
    """Two steps a generation, four in all: half of the training is done when the second is sampled."""
    given = arguments(maxrl=True, maxrl_mix_end=0.0, max_steps=4)
    trainer = make_trainer(
        given, dataset, reward_funcs=lambda completions, **_: [float(len(c) % 2) for c in completions]
    )
    trainer.train()
    mixes = [row["maxrl/mix"] for row in trainer.state.log_history if "maxrl/mix" in row]
    assert mixes == pytest.approx([1.0, 1.0, 0.5, 0.5])


def test_a_negative_reward_is_refused():
    with pytest.raises(ValueError, match=r"reward is -0\.5"):
        MaxRL().group_advantages(Group(torch.tensor([[1.0, -0.5, math.nan]]), torch.zeros(1, 3)))


def test_a_scale_without_effect_warns(arguments):
    with pytest.warns(UserWarning, match="scale_rewards='none' has no effect"):
        EntropyGRPOConfig(**arguments(maxrl=True, scale_rewards="none"))


def test_a_scale_that_the_rest_takes_does_not_warn(arguments):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="scale_rewards")
        EntropyGRPOConfig(**arguments(maxrl=True, maxrl_mix_end=0.0, scale_rewards="none"))


def test_a_group_of_one_is_refused(arguments):
    with pytest.raises(ValueError, match="at least 2 generations"):
        EntropyGRPOConfig(**arguments(maxrl=True, num_generations=1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"maxrl": True, "maxrl_mix": 0.0}, "maxrl_mix=0 leaves TRL's advantage as it is"),
        ({"maxrl": True, "maxrl_mix": 1.5}, r"maxrl_mix=1\.5 is not allowed"),
        ({"maxrl": True, "maxrl_mix_end": -0.1}, r"maxrl_mix_end=-0\.1 is not allowed"),
        ({"maxrl_mix_end": 0.0}, "maxrl"),
        ({"maxrl": True, "maxrl_mix_hold": 0.5}, r"maxrl_mix_hold=0\.5 has no effect while maxrl_mix stays 1\.0"),
        ({"maxrl": True, "maxrl_mix_end": 1.0, "maxrl_mix_hold": 0.5}, "has no effect"),
        ({"maxrl": True, "maxrl_mix_end": 0.0, "maxrl_mix_hold": 1.0}, r"maxrl_mix_hold=1\.0 is not allowed"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))
