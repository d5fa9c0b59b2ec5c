"""The two penalties: values and gradients by hand, and the identity that makes batch scope split-invariant."""

import math

import pytest
import torch

from trl_entropy.functional import anchored_penalty, kl_cov_penalty


def value_and_gradient(entropy: float, **kwargs):
    h = torch.tensor(entropy, dtype=torch.float64, requires_grad=True)
    penalty = anchored_penalty(h, **kwargs)
    return penalty.item(), torch.autograd.grad(penalty, h)[0].item()


def test_anchored_penalty_by_hand():
    """beta 2, anchor 0.7: at 0.5 the value is 2 * 0.04 and the slope 2 * 2 * -0.2; zero at the anchor."""
    assert value_and_gradient(0.5, anchor=0.7, coef=2.0) == pytest.approx((0.08, -0.8))
    assert value_and_gradient(0.9, anchor=0.7, coef=2.0) == pytest.approx((0.08, 0.8))
    assert value_and_gradient(0.7, anchor=0.7, coef=2.0) == pytest.approx((0.0, 0.0))
    assert value_and_gradient(0.9, anchor=0.7, coef=2.0, side="lower") == (0.0, 0.0)
    assert value_and_gradient(0.5, anchor=0.7, coef=2.0, side="lower") == pytest.approx((0.08, -0.8))


def test_expansion_has_the_wider_batchs_value_and_slope():
    assert value_and_gradient(99.0, anchor=0.7, coef=2.0, reference=0.5) == pytest.approx((0.08, -0.8))
    assert value_and_gradient(99.0, anchor=0.7, coef=2.0, reference=0.9, side="lower") == (0.0, 0.0)


def test_expansion_adds_up_over_parts_and_the_square_does_not():
    """Mean of the parts' penalties: the expansion gives the slope of the whole, the square also punishes variety."""
    parts = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64, requires_grad=True)
    whole = parts.mean().item()
    (exact,) = torch.autograd.grad(anchored_penalty(parts.mean(), 0.7, 1.0), parts)
    expansion = sum(anchored_penalty(h, 0.7, 1.0, reference=whole) for h in parts) / 3
    square = sum(anchored_penalty(h, 0.7, 1.0) for h in parts) / 3
    torch.testing.assert_close(torch.autograd.grad(expansion, parts)[0], exact)
    assert expansion.item() == pytest.approx((whole - 0.7) ** 2)
    variance = parts.detach().var(unbiased=False).item()
    assert square.item() == pytest.approx((whole - 0.7) ** 2 + variance)


def test_kl_cov_penalty_by_hand_and_silent_elsewhere():
    logps = torch.tensor([[-1.0, -2.0, math.nan]], requires_grad=True)
    old = torch.tensor([[-1.5, -1.0, 0.0]])
    selected = torch.tensor([[True, True, False]])
    penalty = kl_cov_penalty(logps, old, selected, coef=3.0)
    assert penalty.tolist() == [[1.5, 3.0, 0.0]]
    assert torch.autograd.grad(penalty.sum(), logps)[0].tolist() == [[3.0, -3.0, 0.0]]


def test_kl_cov_penalty_is_inert_where_the_policy_did_not_move():
    logps = torch.tensor([[-1.0]], requires_grad=True)
    penalty = kl_cov_penalty(logps, logps.detach(), torch.ones(1, 1, dtype=torch.bool), 1.0)
    assert penalty.item() == 0.0
    assert torch.autograd.grad(penalty.sum(), logps)[0].item() == 0.0
