"""UCPO (arXiv 2605.00365): shares by hand, the mass that stays, and the gradient against the reference."""

import math

import pytest
import torch

from tests.methods.reference import assert_gradient, by_prompt
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.advantages import spread_advantages
from trl_entropy.methods import Group
from trl_entropy.methods.ucpo import UCPO


def test_by_hand():
    """q = 3/4 and 1/4: 1/q in shares 1/4 and 3/4. tau 0.2: 0.4 + 0.2 / 4 = 0.45 and 0.4 + 0.6 / 4 = 0.55 of 2."""
    logps = torch.tensor([[0.75, 0.25, 0.1]]).log()
    advantages = torch.tensor([[1.0, 1.0, -2.0]])
    torch.testing.assert_close(spread_advantages(advantages, logps, 0.2), torch.tensor([[0.9, 1.1, -2.0]]))
    torch.testing.assert_close(spread_advantages(advantages, logps, 1.0), torch.tensor([[0.5, 1.5, -2.0]]))
    torch.testing.assert_close(spread_advantages(advantages, logps, 0.0), advantages)
    found = spread_advantages(torch.tensor([[2.0, 0.0, -2.0]]), logps, 0.5)  # an advantage of 0 has no share
    torch.testing.assert_close(found, torch.tensor([[2.0, 0.0, -2.0]]))


def test_the_mass_of_a_prompt_stays_and_nothing_else_moves():
    source = torch.Generator().manual_seed(2)
    advantages, logps = torch.randn(32, 8, generator=source), -torch.rand(32, 8, generator=source) * 40
    advantages[0], advantages[1] = -1.0, 1.0
    found = spread_advantages(advantages, logps, 0.5)
    torch.testing.assert_close(found.clamp(min=0).sum(1), advantages.clamp(min=0).sum(1))
    assert torch.equal(found[advantages <= 0], advantages[advantages <= 0])
    assert found.isfinite().all() and (found[advantages > 0] > 0).all()


def test_one_right_answer_keeps_all():
    found = spread_advantages(torch.tensor([[3.0, -1.0, -1.0, -1.0]]), torch.tensor([[-9.0, -1.0, -1.0, -1.0]]), 0.7)
    torch.testing.assert_close(found, torch.tensor([[3.0, -1.0, -1.0, -1.0]]))


def test_tau_is_1_at_most_whatever_a_controller_wants(arguments):
    method = UCPO().attach(EntropyGRPOConfig(**arguments(ucpo_tau=0.5)))
    method.gain = 10.0
    group = Group(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([[0.75, 0.25]]).log() * 3, torch.full((1, 2), 3))
    torch.testing.assert_close(method.group_advantages(group), torch.tensor([[0.5, 1.5]]))


def test_the_gradient_is_the_references(arguments, dataset):
    def of_group(rewards, rows):
        advantages = [row[0].advantage for row in rows]
        means = [sum(token.logp for token in row) / len(row) for row in rows]
        right = [i for i, a in enumerate(advantages) if a > 0]
        mass, odds = sum(advantages[i] for i in right), sum(math.exp(means[i]) for i in right)
        inverse = {i: odds / math.exp(means[i]) for i in right}
        for i in right:
            advantages[i] = mass * (0.5 / len(right) + 0.5 * inverse[i] / sum(inverse.values()))
        return advantages

    assert_gradient(arguments, dataset, by_prompt(of_group), ucpo_tau=0.5)


def test_refused(arguments):
    with pytest.raises(ValueError, match=r"ucpo_tau=1\.5 is not allowed"):
        EntropyGRPOConfig(**arguments(ucpo_tau=1.5))
