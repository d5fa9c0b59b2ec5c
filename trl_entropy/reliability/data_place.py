"""Where a run stands in its data, so that a resumed one takes the prompts that the uninterrupted one would have.

Transformers skips the batches of the epoch that a checkpoint lies in. It does not know that TRL's sampler draws a new
permutation each epoch from a generator of its own, which stands at its beginning again, nor how long a pass over a
stream is. So the permutations of the epochs before are drawn again, and the epoch and the batches taken in it are
counted and kept in each checkpoint's seal.
"""

import math
from pathlib import Path
from typing import Any

from torch.utils.data import Sampler
from transformers import TrainerCallback


# What the order of prompts and random numbers depends on, beside the data itself
_SPLIT = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "num_generations",
    "num_iterations",
    "shuffle_dataset",
    "seed",
)


class DataPlace(TrainerCallback):
    """Counts epochs and the batches (of one backward pass) taken in the present one, from where a run begins.

    A run on a map-style dataset begins where its step says, one on a stream at `in_stream`.
    """

    def __init__(self):
        self.epoch, self.batches = -1, 0  # epochs count from 0
        self.in_stream: tuple[int, int] = (0, 0)  # epoch and batches
        self.sampler: Sampler | None = None  # the map-style dataset's
        self._skipped = 0

    def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
        """Go to where the checkpoint stopped, if there is one."""
        epoch, self._skipped = self.in_stream
        if self.sampler is not None and train_dataloader is not None:
            steps = max(1, math.ceil(len(train_dataloader) / args.gradient_accumulation_steps))
            epoch, taken = divmod(state.global_step, steps)
            self._skipped = 0 if args.ignore_data_skip else taken * args.gradient_accumulation_steps
            for _ in range(epoch):  # its own generator then stands where it does after as many passes
                next(iter(self.sampler), None)
        self.epoch = epoch - 1

    def on_epoch_begin(self, args, state, control, **kwargs):
        """One further, from its beginning unless it is the one that training begins in."""
        self.epoch += 1
        self.batches, self._skipped = self._skipped, 0

    def on_substep_end(self, args, state, control, **kwargs):
        """A backward pass, without an update."""
        self.batches += 1

    on_step_end = on_substep_end  # with one


def split_of(args: Any, processes: int) -> dict[str, Any]:
    """The settings that the order of the data depends on, as a checkpoint keeps them."""
    return {"processes": processes, **{name: getattr(args, name) for name in _SPLIT}}


def why_inexact(checkpoint: str, step: int, facts: dict[str, Any], args: Any, processes: int) -> list[str]:
    """Why the run that resumes from a checkpoint is not the one that would have gone on, in words; empty if it is.

    `step` and `facts` are the checkpoint's, what its seal says, empty for one that another program made; `args` and
    `processes` are those of the run that resumes.
    """
    reasons = []
    split = split_of(args, processes)
    saved = facts.get("split") or {"processes": _processes(checkpoint) or processes}
    for name, value in saved.items():
        if split.get(name, value) != value:
            reasons.append(f"it was saved with {name}={value}, this run has {split[name]}")
    if not any(Path(checkpoint).rglob("*optim*")):
        reasons.append(
            "it holds the model alone (save_only_model): optimizer, learning rate schedule and random numbers begin "
            "anew"
        )
    if args.ignore_data_skip:
        reasons.append("ignore_data_skip=True begins the epoch's data anew")
    batches = facts.get("place", {}).get("batches", step * args.gradient_accumulation_steps)
    generation = args.steps_per_generation * args.num_iterations
    if batches % generation:
        every = math.lcm(generation, args.gradient_accumulation_steps) // args.gradient_accumulation_steps
        reasons.append(
            "it lies inside a generation, whose completions were not saved, so that new ones are generated; to resume "
            f"exactly, save at multiples of {every} steps"
        )
    return reasons


def _processes(checkpoint: str) -> int:
    """Of a checkpoint that does not say, by its files of random states; 0 where there are none."""
    return len([*Path(checkpoint).glob("rng_state.pth"), *Path(checkpoint).glob("rng_state_*.pth")])
