"""Entropy-Adv (arXiv 2506.14758): the bonus by hand, and its gradient against the reference."""

from types import SimpleNamespace

import pytest
import torch

from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods.entropy_adv import EntropyAdv, entropy_bonus


def test_the_bonus_by_hand():
    """alpha 0.4, kappa 2: 0.4 H up to half the advantage's size, whatever its sign; none where it is 0."""
    advantages = torch.tensor([[1.0, 1.0, -1.0, -3.0, 0.0]])
    entropy = torch.tensor([[0.5, 2.0, 2.0, 2.0, 2.0]], requires_grad=True)
    bonus = entropy_bonus(advantages, entropy, 0.4, 2.0)
    torch.testing.assert_close(bonus, torch.tensor([[0.2, 0.5, 0.5, 0.8, 0.0]]))
    assert not bonus.requires_grad


def test_the_gradient_is_the_references(arguments, dataset):
    def shape(rows):
        return [[t.advantage + min(0.4 * t.entropy, abs(t.advantage) / 2.0) for t in row] for row in rows]

    assert_gradient(arguments, dataset, shape, entropy_adv_alpha=0.4)


def test_what_is_added_and_logged_by_hand(arguments):
    """alpha 0.4, a gain of 2: 0.8 H up to |A| / 2. The mean is over the tokens that count, of TRL's advantages."""
    method = EntropyAdv().attach(EntropyGRPOConfig(**arguments(entropy_adv_alpha=0.4)))
    method.gain = 2.0
    advantages = torch.tensor([[1.0, -4.0, 2.0]])
    mask, entropy = torch.tensor([[True, True, False]]), torch.tensor([[0.5, 2.0, 9.0]])
    micro = SimpleNamespace(advantages=advantages, mask=mask, entropy=entropy)
    torch.testing.assert_close(method.shape(advantages, micro)[0, :2], torch.tensor([1.4, -2.4]))
    sums, _ = method.sums(micro)
    logged = method.close({name: float(value) for name, value in sums.items()})
    assert logged == {"entropy_adv/bonus": pytest.approx((0.4 + 1.6) / 2)}
