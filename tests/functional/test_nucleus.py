"""Nucleus entropy: numbers by hand, the oracle, gradients, ties, degenerate rows, precision."""

import math

import pytest
import torch

from tests import oracle
from trl_entropy.functional import nucleus_entropy, nucleus_mask


def binary(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_fork_by_hand():
    """50/45/5 at p = 0.8: inclusive keeps the fork (entropy of 10/19), exclusive keeps one word (entropy 0)."""
    logits = torch.tensor([0.5, 0.45, 0.05], dtype=torch.float64).log()
    assert nucleus_entropy(logits, 0.8).item() == pytest.approx(binary(10 / 19), abs=1e-12)
    assert nucleus_entropy(logits, 0.8, "exclusive").item() == 0.0
    assert nucleus_entropy(logits, 0.96, "exclusive").item() == pytest.approx(binary(10 / 19), abs=1e-12)


def test_exclusive_fork_has_no_gradient_and_inclusive_has():
    logits = torch.tensor([0.5, 0.45, 0.05]).log().requires_grad_()
    (exclusive,) = torch.autograd.grad(nucleus_entropy(logits, 0.8, "exclusive"), logits)
    (inclusive,) = torch.autograd.grad(nucleus_entropy(logits, 0.8), logits)
    assert exclusive.tolist() == [0.0, 0.0, 0.0]
    q, h = torch.tensor([10 / 19, 9 / 19]), binary(10 / 19)
    expected = [*(-q * (q.log() + h)).tolist(), 0.0]
    assert inclusive.tolist() == pytest.approx(expected, abs=1e-6)
    assert abs(inclusive[0].item()) > 0.01


@pytest.mark.parametrize("kind", ["inclusive", "exclusive"])
@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.8, 0.95, 1.0])
def test_equals_the_oracle(kind, top_p):
    logits = 3 * torch.randn(40, 17, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for row, inside, entropy in zip(
        logits, nucleus_mask(logits, top_p, kind), nucleus_entropy(logits, top_p, kind), strict=True
    ):
        words = oracle.nucleus(row, top_p, kind)
        assert inside.nonzero().flatten().tolist() == words
        assert entropy.item() == pytest.approx(oracle.entropy_of(row, words).item(), abs=1e-12)


@pytest.mark.parametrize("kind", ["inclusive", "exclusive"])
def test_gradient_is_the_papers(kind):
    logits = torch.randn(6, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: nucleus_entropy(z, 0.7, kind), logits, eps=1e-6)


def test_full_mass_is_the_full_entropy():
    logits = torch.randn(5, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    full = torch.distributions.Categorical(logits=logits).entropy()
    for kind in ("inclusive", "exclusive"):
        torch.testing.assert_close(nucleus_entropy(logits, 1.0, kind), full, atol=1e-12, rtol=0)


def test_ties_go_to_the_smaller_index():
    assert nucleus_mask(torch.zeros(4), 0.5).tolist() == [True, True, False, False]
    assert nucleus_mask(torch.tensor([0.0, 1.0, 1.0, 1.0]), 0.4).tolist() == [False, True, True, False]
    assert nucleus_mask(torch.zeros(4), 0.5, "exclusive").tolist() == [True, False, False, False]


def test_degenerate_rows():
    one_word = torch.tensor([100.0, 0.0, 0.0], requires_grad=True)
    assert nucleus_entropy(one_word, 0.8).item() == 0.0
    assert torch.autograd.grad(nucleus_entropy(one_word, 0.8), one_word)[0].tolist() == [0, 0, 0]
    banned = torch.tensor([0.0, -math.inf, 0.0], requires_grad=True)
    for top_p in (0.9, 1.0):
        entropy = nucleus_entropy(banned, top_p)
        assert entropy.item() == pytest.approx(math.log(2))
        assert torch.autograd.grad(entropy, banned)[0].isfinite().all()
    assert nucleus_entropy(torch.tensor([0.0, math.nan, 1.0]), 0.8).isnan()
    assert nucleus_entropy(torch.tensor([0.0, math.nan, 1.0]), 0.8, "exclusive").isnan()
    assert nucleus_entropy(torch.tensor([0.0, math.inf, 1.0]), 0.8).isnan()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_the_exact_entropy_of_the_rounded_logits(dtype):
    logits = (4 * torch.randn(50, 300, generator=torch.Generator().manual_seed(4))).to(dtype)
    entropy = nucleus_entropy(logits, 0.8)
    assert entropy.dtype == torch.float32
    torch.testing.assert_close(entropy.double(), nucleus_entropy(logits.double(), 0.8), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("top_p", "kind"), [(0.0, "inclusive"), (1.1, "inclusive"), (math.nan, "inclusive"), (0.8, "x")]
)
def test_bad_arguments_say_what_is_allowed(top_p, kind):
    with pytest.raises(ValueError, match="is not allowed; give"):
        nucleus_entropy(torch.zeros(3), top_p, kind)
