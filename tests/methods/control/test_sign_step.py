"""The sign step: the factor's course by hand."""

import math

import pytest

from tests.methods.control.steps import controller, factors


GIVEN = {"sign_step_size": 0.25, "control_target": 1.0}


def test_by_hand(arguments):
    """Up below the target, down above it, still on it and where no entropy was measured; never out of its bounds."""
    it = controller(arguments, **GIVEN, control_max=1.6)
    entropies = [0.5, 0.9, 0.1, 1.0, math.nan, 1.1, 9.0]
    assert factors(it, entropies) == [1.25, 1.5, 1.6, 1.6, 1.6, pytest.approx(1.35), pytest.approx(1.1)]


def test_a_coefficient_that_lowers_entropy_goes_the_other_way(arguments):
    assert factors(controller(arguments, **GIVEN), [0.5, 0.5, 2.0], way=-1) == [0.75, 0.5, 0.75]


def test_a_coefficient_without_a_direction_rests(arguments):
    assert factors(controller(arguments, **GIVEN), [0.5, 2.0], way=0) == [1.0, 1.0]


def test_it_begins_where_control_start_says(arguments):
    it = controller(arguments, **GIVEN, control_start=0.0)
    assert it.factors(("x",)) == {"x": 0.0}
    assert factors(it, [0.5, 0.5]) == [0.25, 0.5]
