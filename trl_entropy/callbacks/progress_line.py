"""One line that says how a training run stands, in place of the dictionary of every logged number."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK, PrinterCallback


class ProgressLine(TrainerCallback):
    """Step, reward, entropy in nats and in % of its start, seconds a step, time left, held-out pass@k where measured.

    One live line on a terminal; elsewhere, and with `disable_tqdm`, one line a log. The main process alone speaks. A
    run that resumes says after which step. Every number is in `metrics.jsonl`.

    Example:
        ```python
        show_progress(trainer)  # this line instead of what TRL prints
        ```
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self.start: float | None = None
        self._first = 0
        self._began = 0.0
        self._bar: tqdm | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        """Take up what a resumed run has logged."""
        self.__init__()
        self._first = state.global_step
        for row in state.log_history:
            self._note(row)
        if not state.is_world_process_zero:
            return
        if self._first:
            print(f"Resuming after step {self._first} of {state.max_steps}.", flush=True)
        if sys.stderr.isatty() and not args.disable_tqdm:
            shape = "{desc}  {bar:10}"  # a narrow terminal cuts the bar off first
            self._bar = tqdm(total=state.max_steps, initial=self._first, bar_format=shape, dynamic_ncols=True)

    def on_step_begin(self, args, state, control, **kwargs):
        """Start the clock; an evaluation before the first step is not the steps' time."""
        self._began = self._began or time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        """Move the live line."""
        if self._bar is not None:
            self._bar.set_description_str(self._text(state), refresh=False)
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Take the numbers in; print the line where it is not live. What ends a training is no step's log."""
        if not logs or "train_runtime" in logs:
            return
        self._note(logs)
        if self._bar is not None:
            self._bar.set_description_str(self._text(state))
        elif state.is_world_process_zero:
            print(self._text(state), flush=True)

    def on_train_end(self, args, state, control, **kwargs):
        """Leave the last line standing."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _note(self, row: Mapping[str, Any]) -> None:
        self.latest |= {k: v for k, v in row.items() if isinstance(v, int | float) and math.isfinite(v)}
        if self.start is None:
            self.start = self.latest.get("entropy")

    def _text(self, state: Any) -> str:
        steps = state.global_step - self._first
        seconds = (time.monotonic() - self._began) / steps if steps else None
        return progress_text(state.global_step, state.max_steps, self.latest, self.start, seconds)


def progress_text(
    step: int, steps: int, latest: Mapping[str, float], start: float | None, seconds: float | None
) -> str:
    """The line.

    Args:
        step, steps: optimizer steps done, and of the whole run.
        latest: the newest finite value of each logged key.
        start: the first entropy logged, in nats.
        seconds: a step, evaluations and checkpoints included.

    Example:
        >>> progress_text(10, 500, {"reward": 0.25, "entropy": 0.6, "heldout/pass_at_8": 0.5}, 0.8, 3.0)
        'step 10/500  reward 0.25  H 0.6 nats (75 %)  3 s/step  24:30 left  pass@8 0.5'
    """
    parts = [f"step {step}/{steps}"]
    parts += [f"{key.replace('_', ' ')} {latest[key]:.3g}" for key in ("reward", "eval_reward") if key in latest]
    if "entropy" in latest:
        share = f" ({100 * latest['entropy'] / start:.0f} %)" if start else ""
        parts.append(f"H {latest['entropy']:.3g} nats{share}")
    if seconds is not None:
        parts += [f"{seconds:.2g} s/step", f"{tqdm.format_interval((steps - step) * seconds)} left"]
    name = "heldout/pass_at_"
    ks = sorted(int(key.removeprefix(name)) for key in latest if key.startswith(name))
    return "  ".join([*parts, *(f"pass@{k} {latest[f'{name}{k}']:.3g}" for k in ks)])


def show_progress(trainer: Any) -> None:
    """Let a `Trainer` say [`ProgressLine`] instead of every number that it logs."""
    for theirs in (PrinterCallback, DEFAULT_PROGRESS_CALLBACK):
        trainer.remove_callback(theirs)
    trainer.add_callback(ProgressLine())
