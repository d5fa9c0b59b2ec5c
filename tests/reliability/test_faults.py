"""Faults in flight: a clear error on every process, or a skipped, counted and logged update. Weights stay good."""

import math
from pathlib import Path

import pytest
import torch

from tests.distributed.jobs import Processes
from trl_entropy.methods.control.guard import EntropyGuard
from trl_entropy.metrics import SAFETY_TABLE, TABLE
from trl_entropy.reliability.checkpoints import flaw


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(300)]

FAULTY = "tests.reliability.workers:faulty"
METHODS = {"siren_coef": 0.5, "clip_cov_ratio": 0.1, "clip_cov_low": 0.01, "clip_cov_high": 9.0, "save_strategy": "no"}


GUARD = {"entropy_guard": "lower", "entropy_guard_high": 0.01, "siren_anchor": 5.0}


def test_the_logged_keys_are_those_of_the_table(processes: Processes, tmp_path: Path):
    arguments = {**METHODS, **GUARD}
    (rank,) = processes.run(FAULTY, folder=str(tmp_path), reward="nan_reward", steps=[1], arguments=arguments)
    known = {metric.key for metric in TABLE}
    logged = {key for entry in rank["log"] for key in entry if key.startswith(("guard/", "faults/"))}
    assert logged == {metric.key for metric in (*SAFETY_TABLE, *EntropyGuard.metrics)}
    assert not logged & known


def sound(ranks: list[dict]) -> None:
    """All processes hold the same, finite weights and the same state."""
    for rank in ranks:
        assert all(weight.isfinite().all() for weight in rank["weights"].values())
        assert rank["state"] == ranks[0]["state"]
        assert rank["error"] is None
        for name, weight in rank["weights"].items():
            assert torch.equal(weight, ranks[0]["weights"][name]), name


def test_a_nan_reward_is_one_completion_without_a_reward(processes: Processes, tmp_path: Path):
    ranks = processes.run(FAULTY, 2, folder=str(tmp_path), reward="nan_reward", arguments=METHODS)
    sound(ranks)
    log = [entry for entry in ranks[0]["log"] if "faults/unscored_completions" in entry]
    assert log
    assert all(entry["faults/unscored_completions"] == 2 for entry in log)  # one on each process


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ("raising_reward", "'raising_reward' failed before step 1 on process 1: KeyError: 'solution'"),
        ("raising_async_reward", "'raising_async_reward' failed before step 1 on process 1: KeyError: 'solution'"),
        ("hanging_reward", "no answer after reward_timeout=2 s"),
        ("infinite_reward", "infinite_reward returned an infinite reward before step 1"),
    ],
)
def test_a_failing_reward_stops_every_process(processes: Processes, tmp_path: Path, reward, message):
    arguments = {**METHODS, "reward_timeout": 2}
    ranks = processes.run(FAULTY, 2, folder=str(tmp_path), reward=reward, arguments=arguments)
    assert message in ranks[1]["error"]
    assert ranks[0]["error"].startswith("RewardError")
    assert max(rank["seconds"] for rank in ranks) < 60


@pytest.mark.parametrize(
    "fault",
    [{"value": float("nan")}, {"value": float("inf")}, {"value": float("inf"), "in_entropy": True}],
    ids=["NaN", "infinity", "infinity in the entropy"],
)
def test_a_non_finite_loss_skips_the_update_everywhere(processes: Processes, tmp_path: Path, fault):
    ranks = processes.run(FAULTY, 2, folder=str(tmp_path), steps=[1, 3], arguments=METHODS, **fault)
    sound(ranks)
    for rank in ranks:
        assert math.isfinite(rank["anchor"])
        assert math.isfinite(rank["entropy"])
        assert rank["state"]["skipped_updates"] == 2
        counts = {e["step"]: e["faults/skipped_updates"] for e in rank["log"] if "faults/skipped_updates" in e}
        assert counts == {2: 1, 4: 2}


def test_a_skipped_update_leaves_weights_and_optimizer_alone(processes: Processes, tmp_path: Path):
    # the learning rate of a step that is never taken must not matter
    arguments = {**METHODS, "max_steps": 1}
    (one,) = processes.run(
        FAULTY, folder=str(tmp_path / "1"), arguments={**arguments, "lr_scheduler_type": "constant"}
    )
    arguments = {**arguments, "max_steps": 2, "lr_scheduler_type": "constant"}
    (two,) = processes.run(FAULTY, folder=str(tmp_path / "2"), steps=[1], arguments=arguments)
    for name, weight in one["weights"].items():
        assert torch.equal(two["weights"][name], weight), name


@pytest.mark.parametrize(
    ("fault", "penalised"),
    [({}, [1, 1]), ({"steps": [0]}, []), ({"arguments": {"lr_scheduler_type": "linear", "warmup_steps": 1}}, [])],
    ids=["no fault", "a skipped update", "a learning rate of 0"],
)
def test_kl_cov_waits_until_the_policy_has_moved(processes: Processes, tmp_path: Path, fault, penalised):
    """A penalty on rounding noise has a full-strength gradient: it must not act after a step that changed nothing."""
    arguments = {"kl_cov_ratio": 0.2, "save_strategy": "no", "max_steps": 2, **fault.get("arguments", {})}
    (rank,) = processes.run(FAULTY, folder=str(tmp_path), **{**fault, "arguments": arguments})
    assert rank["penalised"] == penalised


def test_twenty_skipped_updates_in_a_row_end_the_run(processes: Processes, tmp_path: Path):
    arguments = {**METHODS, "max_steps": 40, "max_completion_length": 4}
    (rank,) = processes.run(FAULTY, folder=str(tmp_path), steps=list(range(2, 40)), arguments=arguments)
    assert rank["error"].startswith("NonFiniteError: 20 optimizer steps in a row")
    assert all(weight.isfinite().all() for weight in rank["weights"].values())
    assert rank["state"]["skipped_updates"] == 20


def test_a_full_disk_loses_no_good_checkpoint(processes: Processes, tmp_path: Path):
    arguments = {**METHODS, "save_strategy": "steps", "save_total_limit": 1}
    (error,) = processes.run("tests.reliability.workers:full_disk", folder=str(tmp_path), arguments=arguments)
    assert error.startswith("SaveError")
    assert "checkpoint-4 could not be written" in error
    assert f"The newest complete checkpoint is {tmp_path}/checkpoint-2" in error
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert flaw(tmp_path / "checkpoint-2") is None
    run = "tests.reliability.workers:run"
    (resumed,) = processes.run(run, folder=str(tmp_path), arguments={**arguments, "max_steps": 4}, resume=True)
    assert len(resumed["figures"]) == 4


def test_guard_stop_saves_and_ends(processes: Processes, tmp_path: Path):
    arguments = {**METHODS, "entropy_guard": "stop", "entropy_guard_low": 100.0}
    (rank,) = processes.start(FAULTY, folder=str(tmp_path), arguments=arguments)
    assert rank.code == 0, rank.output
    assert len(rank.result["figures"]) == 1
    assert "below entropy_guard's [100.0, None]. The run stops here, with a checkpoint." in rank.output
    assert flaw(tmp_path / "checkpoint-1") is None


def test_guard_lower_halves_the_coefficient_of_siren(processes: Processes, tmp_path: Path):
    # the anchor lies above: SIREN pushes up, out of the bounds
    ranks = processes.run(FAULTY, 2, folder=str(tmp_path), arguments={**METHODS, **GUARD})
    sound(ranks)
    log = [entry for entry in ranks[0]["log"] if "guard/scale" in entry]
    assert [entry["guard/scale"] for entry in log] == [0.5**n for n in range(1, 7)]
    for before, entry in zip([1.0, *[e["guard/scale"] for e in log]], log, strict=False):
        gap = entry["siren/entropy"] - 5.0
        assert entry["siren/penalty"] == pytest.approx(0.5 * before * gap**2)
