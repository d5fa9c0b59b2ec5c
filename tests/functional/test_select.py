"""Peak-entropy mask: numbers by hand, numpy's quantile, padding, short and flat rows."""

import numpy as np
import pytest
import torch

from tests.conftest import poison
from trl_entropy.functional import peak_entropy_mask, sequence_quantile


ENTROPY = torch.tensor([[0.1, 0.9, 0.2, 0.3, 0.0], [0.5, 0.5, 0.5, 0.5, 0.5]])
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])


def test_by_hand():
    """Valid 0.1 0.2 0.3 0.9: the 0.5-quantile is 0.25, so 0.9 and 0.3 are peaks. A flat row has none."""
    assert peak_entropy_mask(ENTROPY, MASK, 0.5).tolist() == [[False, True, False, True, False], [False] * 5]


def test_quantile_is_numpys_over_valid_tokens():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(20, 13, generator=generator, dtype=torch.float64)
    mask = torch.rand(20, 13, generator=generator) < 0.6
    mask[0] = False
    for q in (0.0, 0.25, 0.8, 0.99, 1.0):
        found = sequence_quantile(values, mask, q)
        for row, kept, x in zip(values, mask, found, strict=True):
            expected = np.quantile(row[kept].numpy(), q) if kept.any() else np.inf
            assert x.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("filler", [float("nan"), 1e9, -1e9, float("inf")])
def test_padding_is_never_read_nor_kept(filler):
    for q in (0.0, 0.5, 0.8):
        expected = peak_entropy_mask(ENTROPY, MASK, q)
        found = peak_entropy_mask(poison(ENTROPY, MASK, filler), MASK, q)
        assert torch.equal(found, expected)
        assert not (found & ~MASK.bool()).any()


def test_mask_equals_slice():
    short = peak_entropy_mask(ENTROPY[:1, :4], torch.ones(1, 4), 0.8)
    assert torch.equal(peak_entropy_mask(ENTROPY[:1], MASK[:1], 0.8)[:, :4], short)


def test_one_token_keeps_none_zero_quantile_keeps_all_and_no_token_none():
    one = torch.tensor([[True, False]])
    assert not peak_entropy_mask(torch.ones(1, 2), one, 0.8).any()
    assert torch.equal(peak_entropy_mask(torch.ones(1, 2), one, 0.0), one)
    assert not peak_entropy_mask(torch.ones(1, 2), torch.zeros(1, 2), 0.0).any()


@pytest.mark.parametrize("quantile", [-0.1, 1.0, float("nan")])
def test_bad_quantile(quantile):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        peak_entropy_mask(ENTROPY, MASK, quantile)
