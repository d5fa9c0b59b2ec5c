"""Token covariance and both selections: numbers by hand, the oracle, padding, counts, uniformity."""

import math

import pytest
import torch

from tests import oracle
from tests.conftest import poison
from trl_entropy.functional import covariance_moments, select_clip_cov, select_kl_cov, token_covariance
from trl_entropy.functional.covariance import selection_count


LOGPS = torch.tensor([[-1.0, -3.0, 0.0], [-2.0, -2.0, -2.0]])
ADVANTAGES = torch.tensor([1.0, -1.0])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


def test_by_hand():
    """Means over five tokens: logp -2, A -0.2. Token (0, 0): (-1 + 2)(1 + 0.2) = 1.2; (0, 1): -1.2."""
    found = token_covariance(LOGPS, ADVANTAGES, MASK)
    torch.testing.assert_close(found, torch.tensor([[1.2, -1.2, 0.0], [0.0, 0.0, 0.0]]))


def random_batch(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    logps = -torch.rand(6, 9, generator=generator, dtype=torch.float64) * 4
    mask = torch.rand(6, 9, generator=generator) < 0.7
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)
    return logps, advantages, mask


def test_equals_the_oracle_and_its_mean_is_the_covariance():
    logps, advantages, mask = random_batch()
    found = token_covariance(logps, advantages, mask)
    rows = [row[keep].tolist() for row, keep in zip(logps, mask, strict=True)]
    expected = oracle.covariances(rows, advantages.tolist())
    for row, keep, values in zip(found, mask, expected, strict=True):
        assert row[keep].tolist() == pytest.approx(values, abs=1e-12)
    flat, spread = logps[mask], advantages.unsqueeze(1).expand_as(logps)[mask]
    covariance = (flat * spread).mean() - flat.mean() * spread.mean()
    assert found[mask].mean().item() == pytest.approx(covariance.item(), abs=1e-12)


@pytest.mark.parametrize("filler", [math.nan, 1e9, -math.inf])
def test_padding_is_never_read(filler):
    expected = token_covariance(LOGPS, ADVANTAGES, MASK)
    assert torch.equal(token_covariance(poison(LOGPS, MASK, filler), ADVANTAGES, MASK), expected)
    per_token = poison(ADVANTAGES.unsqueeze(1).expand_as(LOGPS), MASK, filler)
    assert torch.equal(token_covariance(LOGPS, per_token, MASK), expected)


def test_moments_of_parts_add_up_to_those_of_the_whole():
    logps, advantages, mask = random_batch(1)
    whole = token_covariance(logps, advantages, mask)
    moments = sum(covariance_moments(logps[i : i + 2], advantages[i : i + 2], mask[i : i + 2]) for i in (0, 2, 4))
    parts = [token_covariance(logps[i : i + 2], advantages[i : i + 2], mask[i : i + 2], moments) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-12, rtol=0)


def test_no_token_and_one_token():
    for mask in (torch.zeros(2, 3), torch.tensor([[1, 0, 0], [0, 0, 0]])):
        covariance = token_covariance(LOGPS, ADVANTAGES, mask)
        assert covariance.eq(0).all()
        assert select_kl_cov(covariance, mask, 0.5).sum() == mask.sum()
        assert not select_clip_cov(covariance, mask, 0.5, 1.0, 5.0, torch.Generator()).any()


@pytest.mark.parametrize(
    ("ratio", "tokens", "count"), [(2e-4, 500, 1), (0.29, 100, 29), (0.1, 30, 3), (0.5, 3, 1), (0.5, 0, 0)]
)
def test_selection_count(ratio, tokens, count):
    """floor(ratio * N), at least 1; 0.29 * 100 is 28.999... in floating point and must give 29."""
    assert selection_count(ratio, tokens) == count


def test_kl_cov_takes_the_largest_and_ties_by_position():
    logps, advantages, mask = random_batch(2)
    covariance = token_covariance(logps, advantages, mask)
    for ratio in (0.01, 0.1, 0.5):
        found = select_kl_cov(covariance, mask, ratio)
        rows = [row[keep].tolist() for row, keep in zip(covariance, mask, strict=True)]
        expected = oracle.largest(rows, ratio)
        columns = [keep.nonzero().flatten().tolist() for keep in mask]
        assert {(b, columns[b].index(t)) for b, t in found.nonzero().tolist()} == expected
    tied = torch.ones(2, 3)
    assert select_kl_cov(tied, torch.ones(2, 3), 0.5).tolist() == [[True] * 3, [False] * 3]


def test_clip_cov_draws_inside_the_band_only():
    covariance = torch.tensor([[0.5, 1.0, 1.5, 4.9, 5.0, 9.0, 2.0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0]])
    drawn = select_clip_cov(covariance, mask, 0.99, 1.0, 5.0, torch.Generator().manual_seed(0))
    assert drawn.tolist() == [[False, False, True, True, False, False, False]]


def test_clip_cov_count_is_exact_the_draw_uniform_and_repeatable():
    covariance, mask = torch.full((4, 25), 2.0), torch.ones(4, 25)
    generator = torch.Generator().manual_seed(0)
    hits = torch.zeros(4, 25)
    for _ in range(2000):
        drawn = select_clip_cov(covariance, mask, 0.05, 1.0, 5.0, generator)
        assert drawn.sum() == 5
        hits += drawn
    # binomial(2000, 0.05): mean 100, sd 9.7; 100 cells stay within 5 sd
    assert (hits - 100).abs().max() < 49
    draws = [select_clip_cov(covariance, mask, 0.05, 1, 5, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
