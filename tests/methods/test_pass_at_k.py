"""Pass@k training (arXiv 2508.10751): the analytic form against all groups of k, mixing, and annealing."""

import math
from itertools import combinations
from statistics import mean, pstdev

import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from tests.trainer.rig import make_trainer
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.advantages import pass_at_k_advantages
from trl_entropy.methods import Group
from trl_entropy.methods.pass_at_k import PassAtK


def over_all_groups(rewards: list[float], k: int) -> list[float]:
    """The advantage by its meaning: the mean over the groups of k that a completion is in, against that of all."""
    groups = list(combinations(range(len(rewards)), k))
    passes = {group: max(rewards[i] for i in group) for group in groups}
    spread = pstdev(passes.values())
    if spread == 0:
        return [0.0] * len(rewards)
    mean_of_all = mean(passes.values())
    return [(mean(passes[g] for g in groups if i in g) - mean_of_all) / spread for i in range(len(rewards))]


@pytest.mark.parametrize("size", [2, 3, 4, 7])
def test_it_is_the_mean_over_all_groups_of_k(size):
    for k in range(1, size + 1):
        rows = [[1.0] * right + [0.0] * (size - right) for right in range(size + 1)]
        expected = torch.tensor([over_all_groups(row, k) for row in rows])
        torch.testing.assert_close(pass_at_k_advantages(torch.tensor(rows), k), expected, atol=1e-6, rtol=1e-5)


def test_by_hand():
    """N = 4, k = 2. One right: R = 1 - 3/6 = 1/2, s = 1/2; right 1, wrong (1/2 - C(2,1)/C(3,1)) / s = -1/3.

    Two right: R = 5/6, s = sqrt(5)/6; right 1/sqrt(5), wrong (1/6 - 1/3) 6/sqrt(5) = -1/sqrt(5). Three: R = 1, 0.
    """
    found = pass_at_k_advantages(torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 1], [0, 0, 0, 0]]), 2)
    x = 0.4472136
    expected = [[1, -1 / 3, -1 / 3, -1 / 3], [-x, x, x, -x], [0, 0, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_completions_without_a_reward_are_not_in_the_group():
    rewards = torch.tensor([[1.0, math.nan, 0.0, 0.0, 0.0, math.nan], [1.0, *[math.nan] * 5]])
    found = pass_at_k_advantages(rewards, 2)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0, -1 / 3, -1 / 3, -1 / 3, 0], [0.0] * 6]))


def test_large_groups_stay_exact():
    """N = 64, k = 32, one right: R = 1/2, right 1, wrong (1/2 - C(62, 31)/C(63, 31)) 2 = (1/2 - 32/63) 2 = -1/63."""
    found = pass_at_k_advantages(torch.tensor([[1.0] + [0.0] * 63]), 32)
    torch.testing.assert_close(found, torch.tensor([[1.0] + [-1 / 63] * 63]))


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.7), (0.25, 0.6), (1.0, 0.3)])
def test_mixed_and_annealed(progress, weight, arguments):
    method = PassAtK().attach(EntropyGRPOConfig(**arguments(pass_at_k=2, pass_at_k_mix=0.7, pass_at_k_mix_end=0.3)))
    group = Group(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[4.0, 2.0, -3.0, 0.0]]), progress=progress)
    expected = [
        [a * weight + b * (1 - weight) for a, b in zip([1, -1 / 3, -1 / 3, -1 / 3], [4, 2, -3, 0], strict=True)]
    ]
    torch.testing.assert_close(method.group_advantages(group), torch.tensor(expected))
    assert method.close({}) == {"pass_at_k/mix": pytest.approx(weight)}


def test_the_weight_follows_the_training(arguments, dataset):
    """Two steps a generation, four in all: half of the training is done when the second is sampled."""
    given = arguments(pass_at_k=2, pass_at_k_mix=0.8, pass_at_k_mix_end=0.2, max_steps=4)
    trainer = make_trainer(
        given, dataset, reward_funcs=lambda completions, **_: [float(len(c) % 2) for c in completions]
    )
    trainer.train()
    mixes = [row["pass_at_k/mix"] for row in trainer.state.log_history if "pass_at_k/mix" in row]
    assert mixes == pytest.approx([0.8, 0.8, 0.5, 0.5])


def test_the_gradient_is_the_references(arguments, dataset):
    def of_group(rewards, rows):
        ours = over_all_groups(rewards, 2)
        return [0.7 * a + 0.3 * row[0].advantage for a, row in zip(ours, rows, strict=True)]

    assert_gradient(arguments, dataset, by_prompt(of_group), pass_at_k=2, pass_at_k_mix=0.7)


def test_a_whole_number_may_be_written_as_a_float(arguments):
    method = PassAtK().attach(EntropyGRPOConfig(**arguments(pass_at_k=2.0)))
    found = method.group_advantages(Group(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 4)))
    torch.testing.assert_close(found, torch.tensor([[1.0, -1 / 3, -1 / 3, -1 / 3]]))


def test_rewards_that_are_not_0_or_1_are_refused(arguments):
    method = PassAtK().attach(EntropyGRPOConfig(**arguments(pass_at_k=2)))
    with pytest.raises(ValueError, match=r"a reward is 0\.25"):
        method.group_advantages(Group(torch.tensor([[1.0, 0.25, math.nan, 0.0]]), torch.zeros(1, 4)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pass_at_k": 5}, r"pass_at_k=5 is not allowed with num_generations=4"),
        ({"pass_at_k": -1}, "pass_at_k=-1 is not allowed"),
        ({"pass_at_k": 2.5}, "whole number"),
        ({"pass_at_k": 2, "pass_at_k_mix": 1.5}, r"pass_at_k_mix=1\.5 is not allowed"),
        ({"pass_at_k": 2, "pass_at_k_mix": 0.0}, "has no effect"),
        ({"pass_at_k": 2, "pass_at_k_mix": 0.0, "pass_at_k_mix_end": 0.0}, "has no effect"),
        ({"pass_at_k": 2, "pass_at_k_mix_hold": 0.5}, "pass_at_k_mix_hold=0.5 has no effect"),
        ({"pass_at_k": 2, "maxrl": True}, "each replaces the advantages"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))
