"""The entropy guard's decisions, and the arguments it refuses."""

import math

import pytest

from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods.control import Measured
from trl_entropy.methods.control.guard import EntropyGuard
from trl_entropy.methods.siren import Siren, SirenState


def guard(tmp_path, **overrides) -> EntropyGuard:
    args = EntropyGRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", **overrides)
    return EntropyGuard().attach(args)


def measured(entropy: float, step: int = 1, **directions: int) -> Measured:
    return Measured(step, 0.0, entropy, directions)


def test_bounds(tmp_path):
    both = guard(tmp_path, entropy_guard="stop", entropy_guard_low=0.1, entropy_guard_high=2.0)
    assert [both.breach(h) for h in (0.05, 0.1, 1.0, 2.0, 2.1, math.nan)] == [-1, 0, 0, 0, 1, 0]
    assert guard(tmp_path, entropy_guard="stop", entropy_guard_low=0.1).breach(1e9) == 0


@pytest.mark.parametrize(
    ("overrides", "state", "expected"),
    [
        ({}, SirenState(anchor=1.0, entropy=0.5), 1),
        ({}, SirenState(anchor=1.0, entropy=1.5), -1),
        ({"siren_penalty": "lower"}, SirenState(anchor=1.0, entropy=1.5), 0),
        ({}, SirenState(anchor=1.0, entropy=1.0), 0),
        ({}, SirenState(), 0),
    ],
)
def test_which_way_siren_pushes(tmp_path, overrides, state, expected):
    args = EntropyGRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", siren_coef=1.0, **overrides
    )
    siren = Siren().attach(args)
    siren.state = state
    assert siren.direction() == expected


def test_lower_halves_what_pushes_out_while_out_and_doubles_back_inside(tmp_path, caplog):
    it = guard(tmp_path, siren_coef=1.0, entropy_coef=0.01, entropy_guard="lower", entropy_guard_high=2.0)
    scales, names = [], ("siren", "entropy_coef")
    for step, entropy in enumerate((1.0, 2.5, 2.5, 1.0, 1.0, 1.0)):
        logged = it.step(measured(entropy, step, siren=1, entropy_coef=-1))
        factors = it.factors(names)
        assert factors["entropy_coef"] == 1.0 and logged == {"guard/scale": factors["siren"]}
        scales.append(factors["siren"])
    assert scales == [1.0, 0.5, 0.25, 0.5, 1.0, 1.0]
    assert len(caplog.records) == 1 and "Step 1" in caplog.text
    it.step(measured(2.5, 6, siren=1))  # another excursion
    assert len(caplog.records) == 2


def test_a_step_without_a_token_moves_nothing_and_a_long_excursion_can_be_undone(tmp_path):
    it = guard(tmp_path, siren_coef=1.0, entropy_guard="lower", entropy_guard_high=2.0)
    for step in range(2000):
        it.step(measured(2.5, step, siren=1))
    assert it.factors(("siren",)) == {"siren": 2.0**-10}
    it.step(measured(math.nan, siren=1))
    assert it.factors(("siren",)) == {"siren": 2.0**-10}
    for step in range(10):
        it.step(measured(1.0, step, siren=1))
    assert it.factors(("siren",)) == {"siren": 1.0}


def test_lower_leaves_a_term_alone_that_pushes_back(tmp_path, caplog):
    it = guard(tmp_path, siren_coef=1.0, entropy_guard="lower", entropy_guard_low=0.2)
    it.step(measured(0.1, 3, siren=1))
    assert it.factors(("siren",)) == {"siren": 1.0} and not it.stop
    assert len(caplog.records) == 1


def test_stop(tmp_path):
    it = guard(tmp_path, entropy_guard="stop", entropy_guard_low=0.2)
    stops = []
    for entropy in (0.3, math.nan, 0.1):
        it.step(measured(entropy))
        stops.append(it.stop)
    assert stops == [False, False, True]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"entropy_guard": "panic"}, "entropy_guard='panic' is not allowed"),
        ({"entropy_guard": "stop"}, "has no bound to guard"),
        ({"entropy_guard_low": 0.1}, "entropy_guard_low=0.1 was given but entropy_guard is not set"),
        ({"entropy_guard": "stop", "entropy_guard_low": 2.0, "entropy_guard_high": 1.0}, "above entropy_guard_low"),
        ({"entropy_guard": "lower", "entropy_guard_low": 0.1}, "no coefficient to move"),
    ],
)
def test_what_the_guard_refuses(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        guard(tmp_path, **overrides).args.check_with()
