"""The queue for real: kill -9 and resume, nothing twice, a failing run, orphans, and two studies in one folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tests.tasks.base_model import byte_model
from trl_entropy.cli import main
from trl_entropy.study.matrix import read_study
from trl_entropy.study.outcome import read_outcomes
from trl_entropy.study.run_queue import jobs_of, sole_owner
from trl_entropy.study.session import live_table


PLAN = {
    "batches": 6,
    "evaluations": 3,
    "problems": 4,
    "prompts_per_batch": 2,
    "warmup": {"steps": 4, "batch_size": 16},
}
METHODS = {"plain": {}, "siren": {"siren_coef": 1.0}}


def write(tmp_path: Path, **changes) -> list[str]:
    study = {"tasks": {"countdown": PLAN}, "methods": METHODS, "training": {"learning_rate": 1e-2}, **changes}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(study))
    return [str(tmp_path / "mine.yaml"), "--output", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def without_clock(path: Path) -> dict:
    content = json.loads(path.read_text())
    rows = [{**row, "seconds": 0} for row in content["evaluations"]]
    curves = {name: values for name, values in content["curves"].items() if name != "step_time"}
    return {**content, "seconds": 0, "evaluations": rows, "curves": curves}


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_and_started_again_the_study_ends_as_if_nothing_had_happened(tmp_path, capsys):
    uninterrupted = tmp_path / "one"
    uninterrupted.mkdir()
    tasks = {"countdown": {**PLAN, "temperatures": [0.1, 1.0]}}
    assert main(["study", *write(uninterrupted, tasks=tasks), "--jobs", "2"]) == 0
    killed = tmp_path / "two"
    killed.mkdir()
    command = write(killed, tasks=tasks)
    study = subprocess.Popen(
        [sys.executable, "-m", "trl_entropy.cli", "study", *command, "--jobs", "2"], stdout=subprocess.DEVNULL
    )
    plain = killed / "runs" / "countdown" / "plain-seed0"
    wait_for(lambda: list(plain.glob("checkpoint-*/checkpoint_files.json")))
    study.send_signal(signal.SIGKILL)
    study.wait()
    assert not (killed / "results" / "countdown" / "plain-seed0.json").exists()
    before = (killed / "results" / "countdown" / "start.json").stat().st_mtime_ns
    assert main(["study", *command, "--jobs", "2"]) == 0
    assert (killed / "results" / "countdown" / "start.json").stat().st_mtime_ns == before
    for name in ("start", "plain-seed0", "siren-seed0"):
        one, two = (
            without_clock(folder / "results" / "countdown" / f"{name}.json") for folder in (uninterrupted, killed)
        )
        assert one == two
    for run in read_outcomes(killed / "results"):  # at temperature 1 the last policy gives what it gave in training
        hot, cold = run.temperatures("heldout")
        assert (hot["temperature"], cold["temperature"]) == (1.0, 0.1)
        same = {key: value for key, value in hot.items() if key != "temperature"}
        last = {key: run.evaluations("heldout")[-1][key] for key in same}
        assert same == last and cold["entropy"] != hot["entropy"]
    assert not list(plain.glob("checkpoint-*"))
    assert (plain / "model.safetensors").exists() and "siren" not in (plain / "README.md").read_text()

    log = (plain / "log.txt").read_text()
    assert main(["study", *command]) == 0  # nothing is left to do
    assert (plain / "log.txt").read_text() == log
    assert main(["study", *command, "--dry_run"]) == 0
    assert "0.0 hours" in capsys.readouterr().out
    assert [run.label for run in read_outcomes(killed / "results")] == ["plain", "siren", "start"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_from_a_pretrained_model(tmp_path):
    """The explosion's study, but for its size: it begins from a folder, and what explodes is measured."""
    plan = {**PLAN, "batches": 2, "evaluations": 1, "warmup": {"model": byte_model(tmp_path / "base"), "steps": 2}}
    command = write(tmp_path, tasks={"sums": plan}, methods={**METHODS, "bonus": {"entropy_coef": 0.05}})
    assert main(["study", *command, "--jobs", "2"]) == 0
    found = {run.label: run.evaluations("heldout") for run in read_outcomes(tmp_path / "results")}
    assert {label: [row["batch"] for row in rows] for label, rows in found.items()} == {
        "start": [0],
        "plain": [2],
        "siren": [2],
        "bonus": [2],
    }
    for (row,) in found.values():  # 257 tokens, hardly trained: nearly uniform, and its answers are gibberish
        assert row["entropy"] > 4 and 0.15 < row["outside"] <= 0.2 and row["nucleus"] > 100
        assert row["unreadable"] == 1.0 and row["correct"] == "0000"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, capsys):
    command = write(tmp_path, tasks={"countdown": {**PLAN, "batches": 1, "evaluations": 1}})
    # The run cannot write its settings where a folder of that name cannot be removed: it is not a folder of ours
    broken = tmp_path / "runs" / "countdown" / "plain-seed0"
    broken.parent.mkdir(parents=True)
    broken.mkdir()
    (broken / "progress.json.part").mkdir()
    (broken / ".lock").mkdir()
    assert main(["study", *command, "--jobs", "1"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "failed: countdown plain-seed0: exit status 1: IsADirectoryError" in printed
    assert "2 of 3 runs" in printed
    (broken / ".lock").rmdir()
    assert main(["study", *command, "--jobs", "1"]) == 0  # the failed one is tried again
    assert {run.label for run in read_outcomes(tmp_path / "results")} == {"plain", "siren", "start"}


def test_a_folder_has_one_study_at_a_time(tmp_path, capsys):
    with sole_owner(tmp_path / "runs", wait=False):
        assert main(["study", *write(tmp_path)]) == 2
    assert "belongs to a study that is running" in capsys.readouterr().err


def test_the_live_table_names_what_runs_and_what_failed(tmp_path):
    write(tmp_path)
    jobs = jobs_of(read_study(tmp_path / "mine.yaml", tmp_path / "runs", tmp_path / "results"))
    jobs[0].state = "done"
    jobs[1].state, jobs[1].progress, jobs[1].first = "running", {"done": 3, "total": 6, "note": "reward 0.31"}, 1
    jobs[1].began = time.monotonic() - 4
    jobs[2].state, jobs[2].error = "failed", "exit status 1: KeyError (see log.txt)"
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(live_table("mine", jobs, 0.5))
    text = console.export_text()
    assert "1 done, 1 running, 1 failed; about 30 min left" in text
    assert "plain-seed0" in text and "3/6" in text and "2.0" in text and "reward 0.31" in text
    assert "siren-seed0" in text and "KeyError" in text
