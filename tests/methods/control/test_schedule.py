"""Schedules: the factor over the training, by hand."""

import pytest

from tests.methods.control.steps import controller
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods import Measured


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"schedule_shape": "linear"}, [1.0, 0.75, 0.5, 0.0]),
        ({"schedule_shape": "cosine"}, [1.0, 0.853553, 0.5, 0.0]),
        ({"schedule_shape": "linear", "schedule_start": 0.0, "schedule_end": 2.0}, [0.0, 0.5, 1.0, 2.0]),
        ({"schedule_shape": "cosine", "schedule_start": 2.0, "schedule_end": 1.0}, [2.0, 1.853553, 1.5, 1.0]),
    ],
)
def test_by_hand(given, expected, arguments):
    """At the start, and after a quarter, a half and all of the training; on every coefficient alike."""
    it = controller(arguments, **given)
    assert it.factors(("a", "b")) == pytest.approx({"a": expected[0], "b": expected[0]}, abs=1e-6)
    for progress, factor in zip((0.25, 0.5, 1.0), expected[1:], strict=True):
        assert it.step(Measured(1, progress, 1.0, {})) == {"schedule/factor": pytest.approx(factor, abs=1e-6)}
        assert it.factors(("a", "b")) == pytest.approx({"a": factor, "b": factor}, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule_shape": "linear"}, "no coefficient to move"),
        ({"schedule_shape": "linear", "maxrl": True}, "no coefficient to move"),
        ({"schedule_shape": "cosine", "entropy_coef": 0.01, "schedule_end": 1.0}, "no effect"),
        ({"schedule_shape": "constant", "entropy_coef": 0.01}, "schedule_shape='constant' is not allowed"),
        ({"schedule_shape": "linear", "entropy_coef": 0.01, "schedule_end": -1.0}, "schedule_end"),
        ({"schedule_end": 0.5, "entropy_coef": 0.01}, "schedule_shape is not set"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given)).check_with()
