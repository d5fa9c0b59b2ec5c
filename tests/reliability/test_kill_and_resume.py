"""A run killed at any moment goes on, from its newest complete checkpoint, as if nothing had happened."""

import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from tests.distributed.jobs import Processes


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(300)]

RUN = "tests.reliability.workers:run"
METHODS = {
    "siren_coef": 0.5,
    "clip_cov_ratio": 0.1,
    "clip_cov_low": 0.01,
    "clip_cov_high": 9.0,
    # TRL's controller, whose coefficient rises at every step
    "use_adaptive_entropy": True,
    "entropy_target": 9.0,
    "entropy_coef_delta": 1e-3,
    "entropy_coef_max": 1.0,
}
KILLS = {
    "in generation": ({"at": "generation", "step": 4}, 4),
    "between micro-batches": ({"at": "between micro-batches", "step": 5}, 4),
    "while saving: optimizer half written": ({"at": "saving, optimizer half written", "step": 4}, 2),
    "while saving: all but the seal": ({"at": "saving, all but the seal", "step": 4}, 2),
}


@pytest.fixture(scope="module")
def uninterrupted(processes: Processes, tmp_path_factory) -> dict:
    folder = str(tmp_path_factory.mktemp("uninterrupted"))
    (result,) = processes.run(RUN, folder=folder, arguments=METHODS)
    return {**result, "folder": folder}


def same(resumed: dict, whole: dict, first: int) -> None:
    """Weights, state, generator and figures are those of the uninterrupted run, to the bit."""
    for name, weight in whole["weights"].items():
        assert torch.equal(resumed["weights"][name], weight), name
    assert resumed["state"] == whole["state"]
    assert resumed["controller"] == whole["controller"]
    assert torch.equal(resumed["rng"], whole["rng"])
    assert resumed["figures"][first:] == whole["figures"][first:]


@pytest.mark.parametrize("moment", KILLS)
def test_killed_and_resumed_is_uninterrupted(processes: Processes, uninterrupted, tmp_path: Path, moment):
    kill, newest = KILLS[moment]
    (dead,) = processes.start(RUN, folder=str(tmp_path), arguments=METHODS, kill=kill)
    assert dead.code == -9
    (alive,) = processes.start(RUN, folder=str(tmp_path), arguments=METHODS, resume=True)
    assert alive.code == 0, alive.output
    same(alive.result, uninterrupted, newest)
    skipped = f"{tmp_path}/checkpoint-4 is not used: it was not finished"
    assert (skipped in alive.output) == (newest == 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_of_two_processes_is_killed(processes: Processes, tmp_path: Path, rank):
    whole = processes.run(RUN, 2, folder=str(tmp_path / "whole"), arguments=METHODS)
    kill = {"at": "between micro-batches", "step": 4, "rank": rank}
    codes = [r.code for r in processes.start(RUN, 2, folder=str(tmp_path / "run"), arguments=METHODS, kill=kill)]
    assert codes[rank] == -9
    assert codes[1 - rank] != 0
    resumed = processes.run(RUN, 2, folder=str(tmp_path / "run"), arguments=METHODS, resume=True)
    for here, there in zip(resumed, whole, strict=True):
        same(here, there, 4)


@pytest.mark.parametrize("data", ["in memory", "stream"])
@pytest.mark.parametrize("count", [1, 2])
def test_killed_after_the_first_epoch_is_uninterrupted(processes: Processes, tmp_path: Path, data, count):
    """From the end of an epoch, and from within one: checkpoint-6 is that on one process."""
    arguments = {**METHODS, "max_steps": 8}
    whole = processes.run(RUN, count, folder=str(tmp_path / "whole"), arguments=arguments, data=data)
    for step, newest in ((5, 4), (7, 6)):
        job = {"folder": str(tmp_path / str(step)), "arguments": arguments, "data": data}
        kill = {"at": "between micro-batches", "step": step}
        assert processes.start(RUN, count, kill=kill, **job)[0].code == -9
        resumed = processes.run(RUN, count, resume=True, **job)
        for here, there in zip(resumed, whole, strict=True):
            assert here["world_size"] == count
            same(here, there, newest)


def test_another_number_of_processes_is_said(processes: Processes, tmp_path: Path):
    processes.run(RUN, 2, folder=str(tmp_path), arguments={**METHODS, "max_steps": 2})
    (rank,) = processes.start(RUN, folder=str(tmp_path), arguments=METHODS, resume=True)
    assert rank.code == 0, rank.output
    assert "processes=2, this run has 1" in rank.output


def test_two_runs_at_once_in_one_folder(processes: Processes, uninterrupted, tmp_path: Path):
    """The second, on two processes, is refused on both; the first does not notice."""
    folder, second = str(tmp_path / "run"), {}

    def start():
        while not (tmp_path / "run" / "checkpoint-2").exists():
            time.sleep(0.05)
        second["ranks"] = other.start(RUN, 2, folder=folder, arguments=METHODS)
        (tmp_path / "run" / "go").touch()

    other = Processes(tmp_path / "jobs")
    thread = threading.Thread(target=start)
    thread.start()
    try:
        (first,) = processes.run(RUN, folder=folder, arguments=METHODS, wait_at=3)
        thread.join()
    finally:
        other.close()
    same(first, uninterrupted, 0)
    for rank in second["ranks"]:
        assert rank.code == 1
        assert "FolderInUseError" in rank.output


def test_a_named_half_written_checkpoint_is_refused_with_the_way_out(processes: Processes, uninterrupted, tmp_path):
    shutil.copytree(uninterrupted["folder"], tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint-6"
    with open(checkpoint / "optimizer.pt", "r+b") as file:
        file.truncate(1000)
    (rank,) = processes.start(RUN, folder=str(tmp_path / "run"), arguments=METHODS, resume=str(checkpoint))
    assert rank.code == 1
    assert "IncompleteCheckpointError" in rank.output
    assert "optimizer.pt has 1000 bytes instead of" in rank.output
    assert "checkpoint-4" in rank.output


def test_a_checkpoint_inside_a_generation_says_so(processes: Processes, tmp_path: Path):
    arguments = {**METHODS, "save_steps": 3}
    processes.run(RUN, folder=str(tmp_path), arguments={**arguments, "max_steps": 3})
    (rank,) = processes.start(RUN, folder=str(tmp_path), arguments=arguments, resume="true")
    assert rank.code == 0, rank.output
    assert "it lies inside a generation" in rank.output
    assert "save at multiples of 2 steps" in rank.output


def test_resumed_with_other_settings_says_what_becomes_of_the_anchor(processes: Processes, uninterrupted, tmp_path):
    cases = {
        "not used; it is measured over the next rollout": {"siren_top_p": 0.9},
        "not used; it is siren_anchor=0.3": {"siren_top_p": 0.9, "siren_anchor": 0.3},
        "The anchor is siren_anchor=0.3, not the": {"siren_anchor": 0.3},
    }
    for number, (message, change) in enumerate(cases.items()):
        folder = tmp_path / str(number)
        shutil.copytree(uninterrupted["folder"], folder)
        shutil.rmtree(folder / "checkpoint-6")
        arguments = {**METHODS, **change}
        (rank,) = processes.start(RUN, folder=str(folder), arguments=arguments, resume=True)
        assert rank.code == 0, rank.output
        assert message in rank.output
        anchor = rank.result["anchor"]
        assert anchor != uninterrupted["anchor"]
        assert anchor == change.get("siren_anchor", anchor)


def test_resumed_from_plain_trl_says_what_becomes_of_the_anchor(processes: Processes, tmp_path: Path):
    plain = "tests.reliability.workers:plain_trl"
    processes.run(plain, folder=str(tmp_path))
    (rank,) = processes.start(RUN, folder=str(tmp_path), arguments=METHODS, resume=True)
    assert rank.code == 0, rank.output
    assert "checkpoint-4 holds no entropy state" in rank.output
    assert rank.result["anchor"] is not None
    (off,) = processes.start(RUN, folder=str(tmp_path / "off"), arguments={}, resume=str(tmp_path / "checkpoint-4"))
    assert off.code == 0, off.output
    assert "entropy state" not in off.output
