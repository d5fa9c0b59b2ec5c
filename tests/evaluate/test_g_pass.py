"""G-Pass@k and mG-Pass@k (arXiv 2412.13147): by hand, and over all draws."""

import itertools
import math

import numpy as np
import pytest

from trl_entropy.evaluate import g_pass_at_k, mg_pass_at_k, pass_at_k


def over_all_draws(n: int, c: int, k: int, needed: int) -> float:
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    return sum(sum(draw) >= needed for draw in draws) / len(draws)


def test_by_hand():
    """Two of four right, two drawn: both in 1 of 6 draws, one or more in 5. Three of four: both in 3 of 6."""
    assert [g_pass_at_k(4, 2, 2, tau) for tau in (0.0, 0.25, 0.5, 0.51, 1.0)] == pytest.approx(
        [5 / 6, 5 / 6, 5 / 6, 1 / 6, 1 / 6]
    )
    assert mg_pass_at_k(4, 3, 2) == pytest.approx(1 / 2)  # 2/2 of that at tau = 1
    assert mg_pass_at_k(4, 3, 4) == pytest.approx(1 / 2)  # 2/4 of 1 at tau = 3/4 and 0 at tau = 1
    assert mg_pass_at_k(3, 3, 3) == pytest.approx(2 / 3)  # 2/3 of that at tau = 1: the sum has one term of k = 3


@pytest.mark.parametrize("n", range(1, 8))
def test_over_all_draws(n):
    c = np.arange(n + 1)
    for k in range(1, n + 1):
        for tau in (0.0, 0.3, 0.5, 0.75, 1.0):
            needed = max(1, math.ceil(tau * k))
            expected = [over_all_draws(n, right, k, needed) for right in c]
            assert g_pass_at_k(n, c, k, tau) == pytest.approx(expected, abs=1e-12)
        assert g_pass_at_k(n, c, k, 0) == pytest.approx(pass_at_k(n, c, k), abs=1e-12)
        if k > 1:
            area = [
                2 / k * sum(over_all_draws(n, right, k, i) for i in range(math.ceil(k / 2) + 1, k + 1)) for right in c
            ]
            assert mg_pass_at_k(n, c, k) == pytest.approx(area, abs=1e-12)


def test_a_share_that_floats_cannot_hold_asks_for_no_more():
    """0.55 * 20 is 11.000000000000002 in floats: eleven of twenty are enough."""
    assert g_pass_at_k(20, 11, 20, 0.55) == 1.0


def test_refused():
    with pytest.raises(ValueError, match=r"tau=1\.5 is not allowed"):
        g_pass_at_k(4, 1, 2, 1.5)
    with pytest.raises(ValueError, match="g_pass_at_k: k must lie"):
        g_pass_at_k(4, 1, 5, 0.5)
    with pytest.raises(ValueError, match="k=1 is not allowed"):
        mg_pass_at_k(4, 1, 1)
