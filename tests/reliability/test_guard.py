"""The entropy guard's decisions, and the arguments it refuses."""

import math

import pytest
import torch

from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.precision import wide, wide_dtype
from trl_entropy.guard import EntropyGuard, breach, guard_sums, push
from trl_entropy.step.state import EntropyState


def config(tmp_path, **overrides) -> EntropyGRPOConfig:
    return EntropyGRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", **overrides)


def totals(entropy: float) -> dict[str, float]:
    return {"entropy_total": 10 * entropy, "entropy_tokens": 10.0}


def test_bounds(tmp_path):
    args = config(tmp_path, entropy_guard="stop", entropy_guard_low=0.1, entropy_guard_high=2.0)
    assert [breach(h, args) for h in (0.05, 0.1, 1.0, 2.0, 2.1, math.nan)] == [-1, 0, 0, 0, 1, 0]
    assert breach(1e9, config(tmp_path, entropy_guard="stop", entropy_guard_low=0.1)) == 0


@pytest.mark.parametrize(
    ("overrides", "state", "expected"),
    [
        ({"siren_coef": 1.0}, EntropyState(anchor=1.0, entropy=0.5), 1),
        ({"siren_coef": 1.0}, EntropyState(anchor=1.0, entropy=1.5), -1),
        ({"siren_coef": 1.0, "siren_penalty": "lower"}, EntropyState(anchor=1.0, entropy=1.5), 0),
        ({"siren_coef": 1.0}, EntropyState(), 0),
        ({"entropy_coef": 0.01}, EntropyState(), 1),
        ({"siren_coef": 1.0, "entropy_coef": 0.01}, EntropyState(anchor=1.0, entropy=1.5), 0),
    ],
)
def test_which_way_the_terms_push(tmp_path, overrides, state, expected):
    assert push(state, config(tmp_path, **overrides)) == expected


def test_lower_halves_while_out_and_doubles_back_inside(tmp_path, caplog):
    guard = EntropyGuard(config(tmp_path, siren_coef=1.0, entropy_guard="lower", entropy_guard_high=2.0))
    state, scales = EntropyState(anchor=3.0, entropy=2.5), []
    for step, entropy in enumerate((1.0, 2.5, 2.5, 1.0, 1.0, 1.0)):
        assert guard.check(totals(entropy), state, step) is False
        scales.append(state.guard_scale)
    assert scales == [1.0, 0.5, 0.25, 0.5, 1.0, 1.0]
    assert len(caplog.records) == 1
    assert "Step 1: entropy is 2.5 nats, above entropy_guard's [None, 2.0]" in caplog.text


def test_a_step_without_a_token_moves_nothing_and_a_long_excursion_can_be_undone(tmp_path):
    guard = EntropyGuard(config(tmp_path, siren_coef=1.0, entropy_guard="lower", entropy_guard_high=2.0))
    state = EntropyState(anchor=3.0, entropy=2.5)
    for step in range(2000):
        guard.check(totals(2.5), state, step)
    assert state.guard_scale == 2.0**-10
    guard.check({"entropy_total": 0.0, "entropy_tokens": 0.0}, state, 2000)
    assert state.guard_scale == 2.0**-10
    for step in range(10):
        guard.check(totals(1.0), state, step)
    assert state.guard_scale == 1.0


def test_lower_leaves_a_term_alone_that_pushes_back(tmp_path, caplog):
    guard = EntropyGuard(config(tmp_path, siren_coef=1.0, entropy_guard="lower", entropy_guard_low=0.2))
    state = EntropyState(anchor=1.0, entropy=0.1)
    assert guard.check(totals(0.1), state, 3) is False
    assert state.guard_scale == 1.0
    assert "no entropy term pushes that way" in caplog.text


def test_stop(tmp_path, caplog):
    guard = EntropyGuard(config(tmp_path, entropy_guard="stop", entropy_guard_low=0.2))
    assert guard.check(totals(0.3), EntropyState(), 3) is False
    assert guard.check({"entropy_total": 0.0, "entropy_tokens": 0.0}, EntropyState(), 4) is False
    assert guard.check(totals(0.1), EntropyState(), 5) is True
    assert "The run stops here" in caplog.text


def test_sums_count_no_padding():
    entropy = torch.tensor([[1.0, 2.0, math.nan], [4.0, 1e9, math.nan]])
    sums = guard_sums(entropy, torch.tensor([[1, 1, 0], [1, 0, 0]]).bool())
    assert (sums["entropy_total"].item(), sums["entropy_tokens"].item()) == (7.0, 3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"entropy_guard": "panic"}, "entropy_guard='panic' is not allowed"),
        ({"entropy_guard": "stop"}, "has no bound to guard"),
        ({"entropy_guard_low": 0.1}, "entropy_guard_low=0.1 was given but entropy_guard is not set"),
        ({"entropy_guard": "stop", "entropy_guard_low": 2.0, "entropy_guard_high": 1.0}, "above entropy_guard_low"),
        ({"entropy_guard": "lower", "entropy_guard_low": 0.1}, "no coefficient to lower"),
        ({"reward_timeout": 0.0}, "reward_timeout=0.0 is not allowed"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **overrides)


def test_a_device_without_float64_gets_float32():
    assert wide_dtype(torch.device("mps")) == torch.float32
    assert wide_dtype(torch.device("cuda")) == torch.float64
    assert wide(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.float64
