"""Doubling: the factor's course by hand."""

import math

import pytest

from tests.methods.control.steps import controller, factors
from trl_entropy import EntropyGRPOConfig


GIVEN = {"doubling_factor": 2.0, "control_target": 1.0}


def test_by_hand(arguments):
    it = controller(arguments, **GIVEN)
    assert factors(it, [0.5, 0.5, 1.0, 3.0, 3.0, 3.0, math.nan]) == [2.0, 4.0, 4.0, 2.0, 1.0, 0.5, 0.5]
    assert factors(controller(arguments, **GIVEN), [0.5] * 4) == [2.0, 4.0, 8.0, 10.0]
    assert factors(controller(arguments, **GIVEN, control_min=0.4), [2.0] * 2) == [0.5, 0.4]


def test_the_other_way(arguments):
    assert factors(controller(arguments, **GIVEN), [0.5, 2.0, 2.0], way=-1) == [0.5, 1.0, 2.0]


def test_there_is_a_way_up_from_0(arguments):
    it = controller(arguments, **GIVEN, control_start=0.0)
    assert factors(it, [0.5, 0.5]) == pytest.approx([2e-6, 4e-6])


@pytest.mark.parametrize("factor", [1.0, 0.5, math.inf])
def test_refused(factor, arguments):
    with pytest.raises(ValueError, match=r"doubling_factor=.* is not allowed"):
        EntropyGRPOConfig(**arguments(**{**GIVEN, "doubling_factor": factor}, entropy_coef=0.01))
