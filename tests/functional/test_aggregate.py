"""Means and normalisers: numbers by hand, padding, gradients."""

import math

import pytest
import torch

from tests.conftest import poison
from trl_entropy.functional import aggregate_token_loss, masked_mean, sequence_means


VALUES = torch.tensor([[1.0, 3.0, 5.0], [7.0, 0.0, 0.0]])
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])
BY_HAND = {
    "grpo": 4.5,
    "sapo": 4.5,
    "bnpo": 11 / 3,
    "dr_grpo": 11 / 20,
    "dapo": 1.1,
    "cispo": 1.1,
    "vespo": 1.1,
    "luspo": 5.5,
}


@pytest.mark.parametrize("filler", [0.0, math.nan, 1e9, math.inf])
@pytest.mark.parametrize("loss_type", BY_HAND)
def test_normalisers_by_hand_whatever_the_padding(loss_type, filler):
    """Sums 4 and 7; means 2 and 7; three tokens; constant length 10, so 2 x 10; ten items."""
    values = poison(VALUES, MASK, filler).requires_grad_()
    loss = aggregate_token_loss(values, MASK, loss_type, max_completion_length=10, num_items=10.0)
    assert loss.item() == pytest.approx(BY_HAND[loss_type])
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.isfinite().all()
    assert gradient[MASK == 0].eq(0).all()
    assert (gradient * poison(VALUES, MASK, 0.0)).sum().item() == pytest.approx(BY_HAND[loss_type])


def test_unknown_or_unfinished_loss_type_is_refused():
    with pytest.raises(ValueError, match="grpo"):
        aggregate_token_loss(VALUES, MASK, "ppo")
    with pytest.raises(ValueError, match="max_completion_length"):
        aggregate_token_loss(VALUES, MASK, "dr_grpo")
    with pytest.raises(ValueError, match="num_items"):
        aggregate_token_loss(VALUES, MASK, "dapo")


def test_a_sequence_without_tokens_does_not_count():
    means, counted = sequence_means(VALUES, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    assert means.tolist() == [2.0, 0.0]
    assert counted.tolist() == [True, False]
    assert masked_mean(means, counted).item() == 2.0
    assert masked_mean(VALUES, torch.zeros(2, 3)).item() == 0.0
