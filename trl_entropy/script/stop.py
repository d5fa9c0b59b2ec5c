"""Ctrl-C and SIGTERM: the step ends, a checkpoint is saved, one line says how to go on."""

import os
import shlex
import signal
import sys
import time
from types import TracebackType
from typing import Any

from transformers import TrainerCallback


# How the training script learns what the user typed
COMMAND = "TRL_ENTROPY_COMMAND"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A terminal and a launcher send the same signal one after the other
_ONE_WISH = 5.0


class StopOnSignal(TrainerCallback):
    """Ends training after the step in which a process gets SIGINT or SIGTERM; a second one ends it at once.

    Processes get the signal in different steps, so that all ask one another after each: one number a step.

    Args:
        trainer: whose training it ends.
        words: the training script's command line.
    """

    def __init__(self, trainer: Any, words: list[str]):
        self.trainer, self.words = trainer, words
        self.received: int | None = None
        self._at = 0.0
        self._before: dict[int, Any] = {}
        trainer.add_callback(self)

    def __enter__(self) -> "StopOnSignal":
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.received is not None and time.monotonic() - self._at < _ONE_WISH:
            return
        if self.received is not None:
            os._exit(128 + number)
        self.received, self._at = number, time.monotonic()
        if self.trainer.is_world_process_zero():
            name = signal.Signals(number).name
            os.write(2, f"\ntrl-entropy: {name}: stopping after this step. Once more stops at once.\n".encode())

    def on_step_end(self, args, state, control, **kwargs):
        import torch

        wish = torch.tensor(float(self.received or 0), device=args.device)
        if args.world_size > 1:
            wish = self.trainer.accelerator.gather(wish).max()
        if wish:
            self.received = self.received or int(wish)
            control.should_save = control.should_training_stop = True

    def leave(self) -> None:
        """End the process with the shell's status for the signal, if there was one; say where the run stands."""
        if self.received is None:
            return
        trainer = self.trainer
        trainer.accelerator.wait_for_everyone()
        step, folder = trainer.state.global_step, trainer.args.output_dir
        trainer.accelerator.end_training()
        if trainer.is_world_process_zero():
            print(
                f"trl-entropy: stopped by {signal.Signals(self.received).name} after step {step}; checkpoint-{step} "
                f"is in {folder}. To go on:  {self.command()}",
                file=sys.stderr,
            )
        sys.exit(128 + self.received)

    def command(self) -> str:
        """The command that resumes this run."""
        typed = (
            os.environ.get(COMMAND) or f"{shlex.quote(sys.executable)} -m trl_entropy.train {shlex.join(self.words)}"
        )
        return f"{typed} --resume_from_checkpoint true"
