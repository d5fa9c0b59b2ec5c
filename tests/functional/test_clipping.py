"""Where PPO's clip leaves no gradient, against autograd of the surrogate as TRL writes it."""

import pytest
import torch

from trl_entropy.functional.clipping import ppo_clipped


RATIOS = [0.3, 0.79, 0.81, 1.0, 1.05, 1.15, 1.19, 1.21, 1.39, 1.41, 1.59, 1.61, 2.9, 3.1, 9.0]


@pytest.mark.parametrize("delta", [None, 1.1, 1.2, 1.5, 3.0])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.4), (0.5, 0.1)])
def test_it_is_where_autograd_finds_none(low, high, delta):
    """delta below 1 + high included: there A > 0 ends at delta, and A < 0 at 1 + high."""
    ratio = torch.tensor([RATIOS] * 2, dtype=torch.float64)
    logps = ratio.log().requires_grad_()
    advantages = torch.tensor([[0.7], [-0.7]], dtype=torch.float64).expand_as(ratio)
    moved = torch.exp(logps)
    clamped = torch.clamp(moved, 1 - low, 1 + high) * advantages
    free = (moved if delta is None else torch.clamp(moved, max=delta)) * advantages
    (gradient,) = torch.autograd.grad(-torch.min(free, clamped).sum(), logps)
    found = ppo_clipped(logps, torch.zeros_like(logps), advantages, low, high, delta)
    assert found.tolist() == gradient.eq(0).tolist()


@pytest.mark.parametrize(
    ("delta", "positive", "negative"),
    [
        (None, [False, False, True, True], [True, False, False, False]),
        (1.1, [False, True, True, True], [True, False, True, True]),  # min(1.1, 1.2) and max(1.1, 1.2)
        (1.4, [False, False, True, True], [True, False, False, True]),  # min(1.4, 1.2) and max(1.4, 1.2)
    ],
)
def test_by_hand(delta, positive, negative):
    logps = torch.tensor([[0.7, 1.15, 1.3, 1.5]] * 2).log()
    advantages = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    found = ppo_clipped(logps, torch.zeros(2, 4), advantages, 0.2, 0.2, delta)
    assert found.tolist() == [positive, negative]


def test_an_advantage_of_zero_has_nothing_to_remove():
    assert not ppo_clipped(torch.tensor([[-9.0, 0.0, 9.0]]), torch.zeros(1, 3), torch.zeros(1, 3), 0.2, 0.2, 1.1).any()
