"""What a reward function may return, and how long it may take."""

import contextlib
import time

import numpy as np
import pytest
import torch

from tests.trainer.rig import make_trainer
from trl_entropy.reliability.reward_watch import RewardError, RewardTimeout, checked, time_limit


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (None, "returned None, not a list"),
        ("12", "returned '12', not a list"),
        ({"a": 1, "b": 2}, "not a list"),
        ([1.0], "1 rewards for 2 completions"),
        ([1.0, 2.0, 3.0], "3 rewards for 2 completions"),
        (["1", "2"], "returned '1' among its rewards"),
        ([[1.0], [2.0]], r"returned \[1.0\] among its rewards"),
    ],
)
def test_what_is_refused(returned, error):
    with pytest.raises((TypeError, ValueError), match=error):
        checked(returned, 2)


@pytest.mark.parametrize(
    "returned", [[1, None], (1.0, None), np.array([1.0, np.nan]), torch.tensor([1.0, torch.nan]), iter([True, None])]
)
def test_what_is_taken(returned):
    first, second = checked(returned, 2)
    assert first == 1.0 and (second is None or second != second)


def test_an_unusable_reward_is_an_error_with_the_functions_name_and_step(arguments, dataset):
    def broken_reward(completions, **_):
        return ["good"] * len(completions)

    trainer = make_trainer(arguments(), dataset, reward_funcs=broken_reward)
    with pytest.raises(RewardError, match="'broken_reward' failed before step 1 on process 0: TypeError: it returned"):
        trainer.train()


def sleep_three_times(swallowed: type[BaseException]) -> None:
    for _ in range(3):
        with contextlib.suppress(swallowed):
            time.sleep(2)


def limited(seconds: float, swallowed: type[BaseException]) -> None:
    with time_limit(seconds):
        sleep_three_times(swallowed)


def test_a_reward_that_catches_every_exception_cannot_swallow_its_limit():
    began = time.monotonic()
    with pytest.raises(RewardTimeout):
        limited(0.2, Exception)
    assert time.monotonic() - began < 1.5


def test_a_limit_that_was_swallowed_all_the_same_is_raised_at_the_end():
    with pytest.raises(RewardTimeout):
        limited(0.1, BaseException)
    with time_limit(5):
        pass
