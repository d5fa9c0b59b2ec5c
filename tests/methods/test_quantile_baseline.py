"""The quantile baseline (arXiv 2509.22611): by hand, against numpy, and the gradient against the reference."""

import math
from statistics import stdev

import numpy as np
import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.advantages import lower_quantile
from trl_entropy.methods import Group
from trl_entropy.methods.quantile_baseline import QuantileBaseline


def test_by_hand(arguments):
    """K = 0.4 of four: the second smallest. Only the rarer answer has a gradient."""
    method = QuantileBaseline().attach(EntropyGRPOConfig(**arguments(quantile_baseline=0.4, scale_rewards="none")))
    rewards = [[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, math.nan, 0, math.nan]]
    expected = [[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, -1], [0, 0, 0, 0], [1, 0, 0, 0]]
    found = method.group_advantages(Group(torch.tensor(rewards), torch.zeros(5, 4)))
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.5, 0.6, 0.75, 0.9])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_the_baseline_is_numpys(share, size):
    rewards = torch.rand(16, size, generator=torch.Generator().manual_seed(1))
    expected = np.quantile(rewards.numpy(), share, axis=1, method="inverted_cdf")
    torch.testing.assert_close(lower_quantile(rewards, share).squeeze(1).numpy(), expected)


def test_exact_shares_lose_no_place_to_rounding():
    """0.6 of 5 is the third smallest, though 0.6 * 5 is not 3 in every precision; 0.7 of 10 the seventh."""
    assert lower_quantile(torch.arange(5.0).unsqueeze(0), 0.6).item() == 2
    assert lower_quantile(torch.arange(10.0).unsqueeze(0), 0.7).item() == 6


def test_the_gradient_is_the_references(arguments, dataset):
    def of_group(rewards, rows):
        baseline = sorted(rewards)[math.ceil(0.4 * len(rewards)) - 1]
        return [(r - baseline) / (stdev(rewards) + 1e-4) for r in rewards]

    assert_gradient(arguments, dataset, by_prompt(of_group), quantile_baseline=0.4)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_refused(share, arguments):
    with pytest.raises(ValueError, match=r"quantile_baseline=.* is not allowed"):
        EntropyGRPOConfig(**arguments(quantile_baseline=share))
