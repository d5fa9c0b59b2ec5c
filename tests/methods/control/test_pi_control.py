"""The proportional-integral controller: by hand, and an integral that is frozen on the bounds."""

import math

import pytest

from tests.methods.control.steps import controller, factors
from trl_entropy import EntropyGRPOConfig


GIVEN = {"pi_control_gain": 2.0, "pi_control_integral": 0.5, "control_target": 1.0}


def test_by_hand(arguments):
    """1 + 2 e + sum(e) / 2, with e = 0.5, 0.25, -0.25: sums 0.5, 0.75, 0.5."""
    it = controller(arguments, **GIVEN)
    assert factors(it, [0.5, 0.75, 1.25]) == pytest.approx([2.25, 1.875, 0.75])
    assert it.state.integrals == {"entropy_coef": pytest.approx(0.5)}


def test_the_integral_is_frozen_on_the_bounds(arguments):
    """A factor of 3 at most: a hundred steps on the bound leave no debt, and the first step back is the plain one."""
    it = controller(arguments, **GIVEN, control_max=3.0)
    assert factors(it, [0.5]) == [2.25]
    assert factors(it, [0.0] * 100) == [3.0] * 100
    assert it.state.integrals["entropy_coef"] == 0.5
    assert factors(it, [1.0]) == [1.25]
    assert factors(it, [2.0] * 100) == [0.0] * 100  # and so on the lower one
    assert it.state.integrals["entropy_coef"] == 0.5
    assert factors(it, [1.0]) == [1.25]


def test_the_integral_removes_the_rest(arguments):
    """Of a plant H = 0.2 + 0.3 g, target 0.8: without the integral a rest of 0.1875 nats stays, with it none."""

    def held(**given) -> float:
        it, entropy = controller(arguments, **{"control_target": 0.8, "pi_control_gain": 2.0, **given}), 0.5
        for _ in range(600):
            (factor,) = factors(it, [entropy])
            entropy += 0.3 * (0.2 + 0.3 * factor - entropy)
        return entropy

    assert held() == pytest.approx(0.8 - 0.1875, abs=1e-6)
    assert held(pi_control_integral=0.2) == pytest.approx(0.8, abs=1e-6)


def test_the_other_way_and_a_step_without_a_token(arguments):
    it = controller(arguments, **GIVEN)
    assert factors(it, [1.25, math.nan, 1.0], way=-1) == pytest.approx([1.625, 1.625, 1.125])


@pytest.mark.parametrize("name", ["pi_control_gain", "pi_control_integral"])
def test_refused(name, arguments):
    with pytest.raises(ValueError, match=rf"{name}=-1\.0 is not allowed"):
        EntropyGRPOConfig(**arguments(**{**GIVEN, name: -1.0}, entropy_coef=0.01))
