"""Which way a larger coefficient of each method pushes entropy: closed loops go by what it says."""

import pytest

from trl_entropy.methods import METHODS


# By the papers: bonuses and penalties on tokens of high covariance raise it, learning more from right ones lowers it
WAYS = {
    "unlikeliness": 1,
    "w_reinforce": -1,
    "ucpo": 1,
    "entropy_adv": 1,
    "repo": 1,
    "clip_cov": 1,
    "random_clip": 1,
    "kl_cov": 1,
    "lp_reg": 1,
    "aent": 1,
}


@pytest.mark.parametrize("method", [m for m in METHODS if m.key != "siren"], ids=lambda method: method.key)
def test_which_way(method):
    """SIREN's depends on its state: `test_which_way_siren_pushes`. 0 is that of a method without a coefficient."""
    assert method().direction() == WAYS.get(method.key, 0)
    assert method.coefficient is None or method.key in WAYS
