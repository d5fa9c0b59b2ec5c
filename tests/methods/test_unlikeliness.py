"""The unlikeliness reward (arXiv 2506.02355): ranks by hand, and the gradient against the reference."""

from statistics import mean, stdev

import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.advantages import unlikely_rewards
from trl_entropy.methods import Group
from trl_entropy.methods.unlikeliness import Unlikeliness


def test_ranks_by_hand():
    """beta 0.4, N = 4: rank 0, the least probable, keeps all; rank 3 loses 0.3; a wrong answer has nothing to lose."""
    rewards = torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    logps = torch.tensor([[-1.0, -3.0, -2.0, -0.5], [-0.1, -0.4, -0.3, -0.2]])
    expected = torch.tensor([[0.8, 1.0, 0.0, 0.7], [0.7, 1.0, 0.9, 0.8]])
    torch.testing.assert_close(unlikely_rewards(rewards, logps, 0.4), expected)


def test_it_goes_by_the_mean_and_not_the_sum_of_a_completions_tokens(arguments):
    """Sums -2 and -4 over 2 and 8 tokens: the longer one is the more probable by its token mean."""
    method = Unlikeliness().attach(EntropyGRPOConfig(**arguments(unlikeliness_beta=0.5, scale_rewards="none")))
    group = Group(torch.tensor([[1.0, 1.0]]), torch.zeros(1, 2), torch.tensor([[-2.0, -4.0]]), torch.tensor([[2, 8]]))
    torch.testing.assert_close(method.group_advantages(group), torch.tensor([[0.125, -0.125]]))
    method.gain = 4.0  # beta is 1 at most
    torch.testing.assert_close(method.group_advantages(group), torch.tensor([[0.25, -0.25]]))


def test_a_negative_reward_is_refused(arguments):
    method = Unlikeliness().attach(EntropyGRPOConfig(**arguments(unlikeliness_beta=0.5)))
    rewards, ones = torch.tensor([[1.0, -0.5, torch.nan]]), torch.ones(1, 3)
    with pytest.raises(ValueError, match=r"a reward is -0\.5"):
        method.group_advantages(Group(rewards, ones, -ones, ones))


def test_the_gradient_is_the_references(arguments, dataset):
    def of_group(rewards, rows):
        means = [mean(token.logp for token in row) for row in rows]
        ranks = [sum(other < own for other in means) for own in means]
        paid = [r * (1 - 0.25 * rank / len(rewards)) for r, rank in zip(rewards, ranks, strict=True)]
        return [(r - mean(paid)) / (stdev(paid) + 1e-4) for r in paid]

    assert_gradient(arguments, dataset, by_prompt(of_group), unlikeliness_beta=0.25)


def test_refused(arguments):
    with pytest.raises(ValueError, match=r"unlikeliness_beta=1\.5 is not allowed"):
        EntropyGRPOConfig(**arguments(unlikeliness_beta=1.5))
