"""The line that says how training stands: its numbers, who speaks, and when it is live."""

import io
import re
from types import SimpleNamespace

import pytest
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK, PrinterCallback, TrainerControl, TrainerState

from tests.conftest import vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.callbacks.progress_line import ProgressLine, progress_text, show_progress


def test_the_line_by_hand():
    held = {"heldout/pass_at_16": 0.75, "heldout/pass_at_1": 0.4, "heldout/maj_at_16": 0.5}
    text = progress_text(40, 100, {"reward": 0.3125, "eval_reward": 0.5, "entropy": 1.2, **held}, 1.6, 2.5)
    fields = ["step 40/100", "reward 0.312", "eval reward 0.5", "H 1.2 nats (75 %)", "2.5 s/step", "02:30 left"]
    assert text.split("  ") == [*fields, "pass@1 0.4", "pass@16 0.75"]


def test_what_was_not_measured_is_not_said():
    assert progress_text(1, 2, {}, None, None) == "step 1/2"
    assert progress_text(1, 2, {"entropy": 0.5}, 0.0, None) == "step 1/2  H 0.5 nats"


class Session:
    """A callback driven by hand, as the Trainer drives it."""

    def __init__(self, main: bool = True, disable_tqdm: bool = False, history=(), step: int = 0):
        self.line = ProgressLine()
        self.args = SimpleNamespace(disable_tqdm=disable_tqdm)
        self.state = TrainerState(max_steps=10, global_step=step, log_history=list(history))
        self.state.is_world_process_zero = main
        self.call("train_begin")

    def call(self, event: str, **kwargs) -> None:
        getattr(self.line, f"on_{event}")(self.args, self.state, TrainerControl(), **kwargs)

    def step(self, **logs) -> None:
        self.call("step_begin")
        self.state.global_step += 1
        self.call("step_end")
        if logs:
            self.call("log", logs=logs)


def test_a_log_a_line_without_a_terminal(capsys):
    session = Session()
    session.step(reward=0.5, entropy=2.0)
    session.step()
    session.step(entropy=1.0, reward=float("nan"), **{"heldout/pass_at_1": 0.25})
    session.call("log", logs={"train_runtime": 1.0, "train_loss": 0.0})
    session.call("train_end")
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1/10", "step 3/10"]
    assert "reward 0.5" in lines[1].split("  ")  # the last that was a number
    assert "H 1 nats (50 %)" in lines[1].split("  ") and "pass@1 0.25" in lines[1].split("  ")


def test_a_resumed_run_says_after_which_step_and_keeps_its_start(capsys):
    session = Session(history=[{"step": 1, "entropy": 4.0}, {"step": 6, "entropy": 3.0, "reward": 0.1}], step=6)
    session.step(entropy=2.0)
    first, second = capsys.readouterr().out.splitlines()
    assert re.findall(r"\d+", first) == ["6", "10"]
    assert second.split("  ")[:3] == ["step 7/10", "reward 0.1", "H 2 nats (50 %)"]


def test_the_main_process_alone_speaks(capsys):
    session = Session(main=False, step=3)
    session.step(reward=0.5)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("disable_tqdm", [False, True])
def test_live_on_a_terminal_unless_tqdm_is_disabled(capsys, monkeypatch, disable_tqdm):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    session = Session(disable_tqdm=disable_tqdm)
    session.step(reward=0.5)
    session.step(reward=0.75)
    session.call("train_end")
    lines = capsys.readouterr().out.splitlines()
    live = terminal.getvalue()
    assert (len(lines), "step 2/10  reward 0.75" in live) == ((2, False) if disable_tqdm else (0, True))
    assert live.count("\n") == (0 if disable_tqdm else 1)  # redrawn in place, and left standing


def test_seconds_are_those_of_this_sessions_steps(monkeypatch, capsys):
    clock = iter([100.0, 104.0, 109.0, 110.0])
    monkeypatch.setattr("trl_entropy.callbacks.progress_line.time.monotonic", lambda: next(clock))
    session = Session(step=4)
    session.step(reward=0.0)  # begins at 100; 4 s after one step
    session.step(reward=0.0)
    fields = [line.split("  ") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[2:4] for row in fields] == [["4 s/step", "00:20 left"], ["4.5 s/step", "00:18 left"]]


@pytest.mark.parametrize("disable_tqdm", [False, True])
def test_it_takes_the_place_of_what_trl_prints(model, dataset, arguments, disable_tqdm, capsys):
    args = EntropyGRPOConfig(**arguments(max_steps=1, disable_tqdm=disable_tqdm))
    trainer = EntropyGRPOTrainer(model, vowel_reward, args, dataset)
    before = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert (PrinterCallback if disable_tqdm else DEFAULT_PROGRESS_CALLBACK) in before
    show_progress(trainer)
    trainer.train()
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == ["step 1/1"]
