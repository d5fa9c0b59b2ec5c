"""The band: nothing moves inside, by hand."""

import math

import pytest

from tests.methods.control.steps import controller, factors
from trl_entropy import EntropyGRPOConfig


GIVEN = {"band_width": 0.25, "band_step": 0.5, "control_target": 1.0}


def test_by_hand(arguments):
    it = controller(arguments, **GIVEN, control_max=1.8)
    entropies = [0.75, 1.25, 1.0, 0.74, 0.5, math.nan, 1.2, 1.26, 2.0]
    assert factors(it, entropies) == pytest.approx([1.0, 1.0, 1.0, 1.5, 1.8, 1.8, 1.8, 1.3, 0.8])
    assert factors(controller(arguments, **GIVEN), [0.5, 2.0, 2.0, 2.0], way=-1) == [0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("given", [{"band_width": -0.1}, {"band_step": 0.0}])
def test_refused(given, arguments):
    (name,) = given
    with pytest.raises(ValueError, match=rf"{name}=.* is not allowed"):
        EntropyGRPOConfig(**arguments(**{**GIVEN, **given}, entropy_coef=0.01))
