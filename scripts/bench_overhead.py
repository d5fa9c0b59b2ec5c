"""What the analysis parts add to a training run: each part's share of the run's time, on the demo's task.

    python scripts/bench_overhead.py          # two minutes on a quiet CPU core
    python scripts/bench_overhead.py --quick  # a few steps of a model that knows nothing: does it run?

One plain GRPO run has all parts on, at their default cadence. A timer stands around every call that the trainer makes
into a part; its sum, over the time of the whole run, is the part's share. The difference of two runs would not show
parts this cheap: steps vary by more. What a part costs outside of its calls, such as a colder cache, is not seen. The
table goes into docs/law.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from bench_report import add_report_options, describe_machine, print_progress, report_folder, table, write_section
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.callbacks.dynamics_watch import EntropyDynamicsCallback
from trl_entropy.callbacks.law_forecast import EntropyLawCallback
from trl_entropy.callbacks.pictures import PictureCallback
from trl_entropy.callbacks.run_log import RunLogCallback
from trl_entropy.callbacks.token_map import TokenMapRecorder
from trl_entropy.study.matrix import TRAINING, TaskPlan
from trl_entropy.tasks import TASKS, countdown_dataset, countdown_reward
from trl_entropy.tasks.warmup import WarmupSettings, load_or_warm_up


STEPS_PER_BATCH: int = TRAINING["steps_per_generation"]
BOUND = 0.02
WATCHING, MAP, DYNAMICS, LOG, LAW, FIGURES = (
    "entropy figures, which the token map turns on",
    "token map, 4 completions",
    "dynamics, 64 completions",
    "`RunLogCallback`",
    "`EntropyLawCallback`",
    "`PictureCallback`, three pictures to TensorBoard",
)
CADENCE = {
    WATCHING: "every step",
    MAP: "every 25 steps",
    DYNAMICS: "every 25 steps",
    LOG: "every step",
    LAW: "every 10 points",
    FIGURES: "every 100 steps",
}
TRL = "TRL's loss"


class Clock:
    """Seconds of every call, by part. A call made inside another timed one counts for itself only."""

    def __init__(self) -> None:
        self.calls: dict[str, list[float]] = defaultdict(list)
        self._inside: list[float] = []  # of the calls that are running, the seconds of those made inside

    def around(self, part: str, call: Callable) -> Callable:
        """`call`, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inside.append(0.0)
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                took = time.perf_counter() - began
                self.calls[part].append(took - self._inside.pop())
                if self._inside:
                    self._inside[-1] += took

        return timed

    def watch(self, part: str, owner: Any, *names: str) -> None:
        """Time these methods of one object."""
        for name in names:
            setattr(owner, name, self.around(part, getattr(owner, name)))


class RunTime(TrainerCallback):
    """Seconds of the run, from its first event to its last, and of every generation batch."""

    def __init__(self, steps: int) -> None:
        self.steps, self.whole = steps, 0.0
        self.batches: list[float] = []

    def on_train_begin(self, args, state, control, **kwargs):
        self._began = self._batch = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        print_progress(f"step {state.global_step}/{self.steps}")
        if state.global_step % STEPS_PER_BATCH == 0:
            now = time.perf_counter()
            self.batches.append(now - self._batch)
            self._batch = now

    def on_train_end(self, args, state, control, **kwargs):
        self.whole = time.perf_counter() - self._began


def trainer_for(args: argparse.Namespace, folder: Path) -> EntropyGRPOTrainer:
    """The demo's plain run, with every part on."""
    settings, cache = (WarmupSettings(steps=2), folder) if args.quick else (WarmupSettings(), None)
    start, _ = load_or_warm_up(settings, cache, lambda step, _: print_progress(f"warm-up {step}/{settings.steps}"))
    config = EntropyGRPOConfig(
        output_dir=str(folder / "run"),
        per_device_train_batch_size=args.prompts * TRAINING["num_generations"] // STEPS_PER_BATCH,
        max_completion_length=TASKS["countdown"].longest,
        max_steps=args.batches * STEPS_PER_BATCH,
        logging_steps=1,
        save_strategy="no",
        report_to=["tensorboard"],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        log_token_map=4,
        log_entropy_dynamics=True,
        **TRAINING,
    )
    trainer = EntropyGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(start),
        args=config,
        reward_funcs=countdown_reward,
        train_dataset=countdown_dataset("train"),
        processing_class=AutoTokenizer.from_pretrained(start),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(EntropyLawCallback(trainer))
    trainer.add_callback(PictureCallback(trainer))
    return trainer


def measure(trainer: EntropyGRPOTrainer) -> tuple[Clock, RunTime]:
    """Train, with a timer around every call into a part."""
    clock, run = Clock(), RunTime(trainer.args.max_steps)
    trainer.callback_handler.callbacks.insert(0, run)
    clock.watch(WATCHING, trainer, "_compute_loss")  # less TRL's own, and less the two that it calls
    for observer in trainer.observers:
        if isinstance(observer, TokenMapRecorder):
            clock.watch(MAP, observer, "after_loss")
        elif isinstance(observer, EntropyDynamicsCallback):
            clock.watch(DYNAMICS, observer, "before_loss", "on_pre_optimizer_step", "on_optimizer_step")
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, RunLogCallback):
            clock.watch(LOG, callback, "on_train_begin", "on_log")
        elif isinstance(callback, EntropyLawCallback):
            clock.watch(LAW, callback, "on_train_begin", "on_log", "on_step_begin")
        elif isinstance(callback, PictureCallback):
            clock.watch(FIGURES, callback, "on_log")
    with patch.object(GRPOTrainer, "_compute_loss", clock.around(TRL, GRPOTrainer._compute_loss)):
        trainer.train()
    return clock, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100, help="generation batches, two optimizer steps each")
    parser.add_argument("--prompts", type=int, default=TaskPlan().prompts_per_batch, help="prompts a batch")
    add_report_options(parser)
    parser.set_defaults(threads=1)  # as the demo's runs have
    args = parser.parse_args()
    if args.batches < 2:
        parser.error(f"--batches {args.batches}: give at least 2, so that there is a spread to report")
    torch.set_num_threads(args.threads)
    if args.quick:
        args.batches, args.prompts = 3, 4
    with tempfile.TemporaryDirectory() as folder:
        clock, run = measure(trainer_for(args, Path(folder)))

    lines = []
    for part, cadence in CADENCE.items():
        calls = clock.calls[part]
        share = sum(calls) / run.whole
        reached = "yes" if share <= BOUND else "no"
        lines.append(
            [part, cadence, f"{1000 * max(calls):.1f}", f"{100 * share:.2g} %", f"{100 * BOUND:g} %", reached]
        )
    columns = ("part", "cadence", "longest call, ms", "share of the run", "at most", "reached")
    steps = args.batches * STEPS_PER_BATCH
    title = f"{steps} optimizer steps of the demo's plain run, {run.whole / steps:.2f} s each"
    low, middle, high = statistics.quantiles(run.batches, n=4)
    noise = (
        f"A batch of {STEPS_PER_BATCH} steps took {middle:.2f} s (median; quartiles {low:.2f} and {high:.2f} s): the "
        "shares are no surer than that spread."
    )
    command = " ".join(["python", "scripts/bench_overhead.py", *sys.argv[1:]])
    text = table(title, lines, columns)
    parts = [text, noise, args.note, describe_machine("cpu", args.threads), f"Command: `{command}`"]
    print_progress(f"{text}\n\n{noise}", last=True)
    write_section(report_folder(args) / "law.md", "overhead", "\n\n".join(part for part in parts if part))


if __name__ == "__main__":
    main()
