"""What closed-loop controllers aim at: nats, a fraction of the initial entropy or of the anchor; what they refuse."""

import math

import pytest

from tests.methods.control.steps import controller, factors
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods import BONUS, CONTROLLERS, Measured
from trl_entropy.methods.control.target import TargetController


HOLDING = [kind for kind in CONTROLLERS if issubclass(kind, TargetController)]
EACH = pytest.mark.parametrize("kind", HOLDING, ids=lambda kind: kind.key)
SIGN = {"sign_step_size": 0.25}


def only_switch(kind) -> dict:
    return {kind.switch: kind.example[kind.switch]}


def test_there_are_four():
    assert [kind.key for kind in HOLDING] == ["sign_step", "doubling", "pi_control", "band"]


@EACH
def test_it_pushes_towards_its_target_from_both_sides(kind, arguments):
    given = {**only_switch(kind), "control_target": 1.0, "control_start": 2.0}
    for way in (1, -1):
        assert factors(controller(arguments, **given), [0.5], way)[0] * way > 2.0 * way
        assert factors(controller(arguments, **given), [1.5], way)[0] * way < 2.0 * way


def test_a_fraction_of_the_initial_entropy(arguments):
    """0.5 of 2 nats, the first that was measured: the target is 1 nat for ever."""
    it = controller(arguments, **SIGN, control_target=0.5, control_target_unit="initial")
    assert factors(it, [math.nan, 2.0, 0.8, 1.2]) == [1.0, 0.75, 1.0, 0.75]
    logged = it.step(Measured(5, 0.0, 1.0, {BONUS: 1}))
    assert logged == {"sign_step/target": 1.0, "sign_step/factor": 0.75}


def test_a_fraction_of_the_anchor_holds_sirens_own_entropy(arguments):
    """0.5 of an anchor of 2: SIREN's 0.9 is too low and 1.1 too high, whatever the mean entropy of all tokens is."""
    given = {**SIGN, "control_target": 0.5, "control_target_unit": "anchor", "siren_coef": 0.1}
    it = controller(arguments, **given)
    assert factors(it, [5.0]) == [1.0]  # before the anchor stands
    assert factors(it, [5.0], anchor=2.0, siren=0.9) == [1.25]
    assert factors(it, [0.1], anchor=2.0, siren=1.1) == [1.0]


@EACH
def test_the_state_goes_on(kind, arguments):
    given = {**only_switch(kind), "control_target": 0.5, "control_target_unit": "initial"}
    if kind.key == "pi_control":
        given["pi_control_integral"] = 0.5
    whole, first = controller(arguments, **given), controller(arguments, **given)
    expected = factors(whole, [2.0, 0.8, 1.2, 0.9])
    found = factors(first, [2.0, 0.8])
    second = controller(arguments, **given)
    second.resume({**vars(first.state), "of a later version": 1}, "checkpoint-2")
    assert second.factors((BONUS,)) == {BONUS: found[-1]}
    assert found + factors(second, [1.2, 0.9]) == expected


@EACH
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs control_target"),
        ({"control_target": 0.0}, r"control_target=0\.0 is not allowed"),
        ({"control_target": -1.0}, r"control_target=-1\.0 is not allowed"),
        ({"control_target": 14.0}, r"control_target=14\.0 is not allowed; .* below 13\.8"),
        ({"control_target": math.nan}, "control_target=nan is not allowed"),
        ({"control_target": 11.0, "control_target_unit": "initial"}, "give a fraction"),
        ({"control_target": 0.4, "control_target_unit": "anchor"}, "needs SIREN"),
        ({"control_target": 0.4, "control_target_unit": "bits"}, "control_target_unit='bits' is not allowed"),
        ({"control_target": 0.4, "control_min": 2.0, "control_max": 1.0}, "bounds are crossed"),
        ({"control_target": 0.4, "control_min": 1.5}, "not in this order"),
        ({"control_target": 0.4, "control_start": 11.0}, "not in this order"),
        ({"control_target": 0.4, "control_min": 1.0, "control_max": 1.0}, "no room"),
        ({"control_target": 0.4, "entropy_coef": 0.0}, "no coefficient to move"),
        ({"control_target": 0.4, "entropy_coef": 0.0, "maxrl": True}, "no coefficient to move"),
        ({"control_target": 0.4, "use_adaptive_entropy": True}, "no coefficient to move"),
    ],
)
def test_refused(kind, given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**{"entropy_coef": 0.01, **only_switch(kind), **given})).check_with()


@EACH
def test_two_that_hold_a_target_are_refused(kind, arguments):
    for other in HOLDING:
        if other is not kind:
            with pytest.raises(ValueError, match="two answers to how a target entropy is held"):
                EntropyGRPOConfig(
                    **arguments(**only_switch(kind), **only_switch(other), control_target=1.0, entropy_coef=0.01)
                )


@pytest.mark.parametrize("name", ["control_target", "control_start", "control_min", "control_max"])
def test_bounds_without_a_controller_are_refused(name, arguments):
    with pytest.raises(ValueError, match=rf"{name}=0\.5 was given but"):
        EntropyGRPOConfig(**arguments(entropy_coef=0.01, **{name: 0.5}))
