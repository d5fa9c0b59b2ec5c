"""Ctrl-C and SIGTERM: one line, a checkpoint, the command that goes on, and no process left behind."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.quick import published, quick
from trl_entropy.reliability.checkpoints import flaw
from trl_entropy.script.stop import StopOnSignal


ROOT = Path(__file__).parents[1]


def start(words: list[str], folder: Path) -> tuple[subprocess.Popen, Path]:
    """`trl-entropy grpo` in the background, in a session of its own; its process and the file of what it says."""
    said = folder / "said.txt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with said.open("w") as file:
        command = [sys.executable, "-m", "trl_entropy", "grpo", *words]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        ), said


def until_step(log: Path, step: int, process: subprocess.Popen) -> list[psutil.Process]:
    """Wait for a step to be logged; the launcher's children."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.read_text().count("\n") >= step:
            return psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.1)
    raise AssertionError("no step was made")


def words_of(model: str, data: str, out: Path, **more) -> list[str]:
    return quick(published("siren"), model, data, out, max_steps=100_000, **{"logging_steps": 1, **more})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_one_line_a_checkpoint_and_the_command(model, data, tmp_path, number):
    out = tmp_path / "out"
    words = words_of(model, data, out, num_processes=1, accelerate_config="single_gpu", mixed_precision="no")
    process, said = start(words, tmp_path)
    children = until_step(out / "metrics.jsonl", 2, process)
    process.send_signal(number)
    assert process.wait(120) == 128 + number
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    text = said.read_text()
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if line.startswith("trl-entropy: ")]
    assert [line.split(":")[1].split()[0] for line in lines] == [number.name, "stopped"]
    step = int(re.search(r"after step (\d+)", lines[1])[1])
    assert flaw(out / f"checkpoint-{step}") is None
    assert not (out / "model.safetensors").exists()  # not saved as if it were done
    program, command, *rest = shlex.split(lines[1].partition("To go on:  ")[2])
    assert (program, command) == ("trl-entropy", "grpo")
    assert rest == [*words, "--resume_from_checkpoint", "true"]
    process, said = start([*rest, "--max_steps", str(step + 1)], tmp_path)
    assert process.wait(240) == 0, said.read_text()
    assert json.loads((out / "trainer_state.json").read_text())["global_step"] == step + 1


@pytest.mark.distributed
def test_two_processes_stop_after_the_same_step(model, data, tmp_path):
    out = tmp_path / "out"
    words = words_of(
        model, data, out, num_processes=2, accelerate_config="multi_gpu", mixed_precision="no",
        per_device_train_batch_size=2, generation_batch_size=8, main_process_port=0,
    )  # fmt: skip
    process, said = start(words, tmp_path)
    children = until_step(out / "metrics.jsonl", 2, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM, said.read_text()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    text = said.read_text()
    step = int(re.search(r"stopped by SIGTERM after step (\d+)", text)[1])
    assert flaw(out / f"checkpoint-{step}") is None
    assert text.count("To go on:") == 1
    assert "Traceback" not in text


class Alone:
    """As much of a trainer as the callback looks at."""

    def __init__(self):
        self.callbacks: list = []
        self.add_callback = self.callbacks.append

    def is_world_process_zero(self) -> bool:
        return True


def test_a_signal_is_taken_once_and_the_second_ends_at_once(monkeypatch, capfd):
    monkeypatch.setattr("os._exit", sys.exit)
    before = signal.getsignal(signal.SIGTERM)
    with StopOnSignal(Alone(), []) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # a terminal's and a launcher's are one
        assert stop.received == signal.SIGTERM
        monkeypatch.setattr(stop, "_at", stop._at - 60)
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(capfd.readouterr().err.strip().splitlines()) == 1


def test_without_a_signal_nothing_ends(monkeypatch):
    stop = StopOnSignal(Alone(), ["--siren_coef", "0.1"])
    stop.leave()
    monkeypatch.setenv("TRL_ENTROPY_COMMAND", "trl-entropy grpo --config a.yaml")
    assert stop.command() == "trl-entropy grpo --config a.yaml --resume_from_checkpoint true"
