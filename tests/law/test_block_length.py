"""The block length of the bootstrap, by hand."""

import math

import numpy as np
import pytest

from trl_entropy.law.bootstrap import block_length


def residuals(half: int, periods: int) -> np.ndarray:
    """`half` times 1, then `half` times -1, over and over: mean 0, and all that is needed of it can be counted."""
    return np.array(([1.0] * half + [-1.0] * half) * periods)


@pytest.mark.parametrize(("half", "periods"), [(2, 50), (3, 40), (5, 100)])
def test_it_is_politis_and_whites(half, periods):
    """Of n - 1 neighbours 2 periods - 1 differ: rho = (n - 1 - 2 (2 periods - 1)) / n, as power is n."""
    n = 2 * half * periods
    rho = (n - 1 - 2 * (2 * periods - 1)) / n
    if half == 2:
        assert rho == pytest.approx(1 / n)  # two by two: hardly any
    expected = (1.5 * (2 * rho / (1 - rho**2)) ** 2 * n) ** (1 / 3)
    assert block_length(residuals(half, periods)) == max(1, round(expected))


def test_numbers_by_hand():
    """1,000 points, rho 0.601: (1.5 (1.202 / 0.639)^2 1000)^(1/3) = (1.5 x 3.5384 x 1000)^(1/3) = 17.4."""
    assert block_length(residuals(5, 100)) == 17


def test_at_least_one_and_at_most_a_quarter():
    assert block_length(residuals(1, 50)) == 1  # they alternate: negative
    assert block_length(np.zeros(9)) == 1
    assert block_length(residuals(20, 1)) == 10  # 40 points
    assert block_length(np.array([1.0, 1.0, -2.0])) == 1
    assert math.isfinite(block_length(np.linspace(-1, 1, 1000)))
