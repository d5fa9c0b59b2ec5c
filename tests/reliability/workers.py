"""Training runs that are killed, fed with faults, or resumed, for the ranks of a job."""

import errno
import gc
import math
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from transformers import TrainerCallback
from trl import GRPOTrainer

from tests.conftest import vowel_reward
from tests.distributed.workers import PROMPTS, make_trainer, record
from trl_entropy import EntropyGRPOTrainer
from trl_entropy.reliability import checkpoints


# A generation lasts two optimizer steps of two micro-batches; every checkpoint lies at the end of one
ALIGNED = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "steps_per_generation": 2,
    "num_iterations": 2,
    "max_steps": 6,
    "save_strategy": "steps",
    "save_steps": 2,
    "optim": "adamw_torch",
    "max_grad_norm": 1.0,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "linear",
    "shuffle_dataset": True,
}


# Four prompts: a pass over them is four optimizer steps on one process, two on two
DATA = {
    "in memory": lambda: Dataset.from_dict({"prompt": PROMPTS}),
    "stream": lambda: IterableDataset.from_generator(lambda: ({"prompt": prompt} for prompt in PROMPTS)),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalTrainer(EntropyGRPOTrainer):
    """Dies of SIGKILL at `kill["at"]` of optimizer step `kill["step"]` (counted from 0), on process `kill["rank"]`."""

    kill: dict[str, Any] | None = None
    data: Dataset | IterableDataset | None = None  # in place of the usual one

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "train_dataset": self.data or kwargs["train_dataset"]})

    def _dies(self, at: str) -> bool:
        wanted = self.kill or {}
        here = wanted.get("rank", 0) == self.accelerator.process_index
        return here and wanted.get("at") == at and wanted["step"] == self.state.global_step

    def _generate_single_turn(self, *args, **kwargs):
        if self._dies("generation"):
            die()
        return super()._generate_single_turn(*args, **kwargs)

    def training_step(self, model, inputs, num_items_in_batch):
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._dies("between micro-batches") and self._step % 2 == 1:
            die()
        return loss

    def _save_optimizer_and_scheduler(self, output_dir):
        super()._save_optimizer_and_scheduler(output_dir)
        if self._dies("saving, optimizer half written"):
            path = os.path.join(output_dir, "optimizer.pt")
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    def _save_checkpoint(self, model, trial):
        if self._dies("saving, all but the seal"):
            checkpoints.seal = lambda *_, **__: die()
        super()._save_checkpoint(model, trial)


def state_of(trainer) -> dict[str, Any]:
    """All that a checkpoint would remember."""
    return {**vars(trainer._entropy_state), "parts": {part.key: vars(part.state) for part in trainer.methods}}


class Waits(TrainerCallback):
    """Holds a run at the end of a step until somebody has written `go` into its folder."""

    def __init__(self, step: int, folder: str):
        self.step, self.go = step, Path(folder) / "go"

    def on_step_end(self, args, state, control, **kwargs):
        while state.global_step == self.step and not self.go.exists():
            time.sleep(0.05)


def run(payload: dict[str, Any]) -> dict[str, Any]:
    """Train, perhaps resume, perhaps die."""
    MortalTrainer.data = DATA[payload["data"]]() if "data" in payload else None
    trainer = make_trainer(payload, MortalTrainer, **ALIGNED)
    trainer.kill = payload.get("kill")
    if "wait_at" in payload:
        trainer.add_callback(Waits(payload["wait_at"], payload["folder"]))
    trainer.train(resume_from_checkpoint=payload.get("resume"))
    return {
        **record(trainer),
        "state": state_of(trainer),
        "rng": torch.random.get_rng_state(),
        "controller": (trainer.entropy_coef, trainer._last_world_entropy),
    }


def nan_reward(completions, **_):
    return [math.nan if i == 1 else r for i, r in enumerate(vowel_reward(completions))]


def infinite_reward(completions, **_):
    return [math.inf if i == 1 else r for i, r in enumerate(vowel_reward(completions))]


def raising_reward(completions, **_):
    if os.environ.get("RANK", "1") == "1":
        raise KeyError("solution")
    return vowel_reward(completions)


def hanging_reward(completions, **_):
    if os.environ.get("RANK", "1") == "1":
        time.sleep(600)
    return vowel_reward(completions)


async def raising_async_reward(completions, **_):
    return raising_reward(completions)


class FaultyTrainer(EntropyGRPOTrainer):
    """Its loss is times `value` in the second micro-batch of the steps `steps`, on process 1 (or the only one)."""

    steps: tuple[int, ...] = ()
    value = math.nan
    in_entropy = False  # the nucleus entropy of each first token is times `value`, and the loss through it

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.penalised: list[int] = []
        for method in self.methods:
            loss = method.loss
            if method.key == "kl_cov":
                method.loss = lambda micro, loss=loss: self._noted(loss(micro))
            if method.key == "siren":
                method.loss = lambda micro, loss=loss: loss(self._spoiled(micro))

    def _noted(self, penalty):
        if penalty is not None:
            self.penalised.append(self.state.global_step)
        return penalty

    def _guilty(self) -> bool:
        last = self.accelerator.process_index == self.accelerator.num_processes - 1
        return self.model.training and last and self.state.global_step in self.steps and self._step % 2 == 1

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        return loss * self.value if self._guilty() and not self.in_entropy else loss

    def _spoiled(self, micro):
        if self._guilty() and self.in_entropy:
            whole = micro.head["nucleus_entropy"]
            micro.head = {**micro.head, "nucleus_entropy": torch.cat([whole[:, :1] * self.value, whole[:, 1:]], dim=1)}
        return micro


def faulty(payload: dict[str, Any]) -> dict[str, Any]:
    """Train with a fault; returns the error if there was one, and what state the run is in."""
    reward = globals().get(payload.get("reward"), vowel_reward)
    trainer = make_trainer(payload, FaultyTrainer, reward, **ALIGNED)
    trainer.steps = tuple(payload.get("steps", ()))
    trainer.value = payload.get("value", math.nan)
    trainer.in_entropy = payload.get("in_entropy", False)
    error, started = None, time.monotonic()
    try:
        trainer.train()
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    seconds = time.monotonic() - started
    log = trainer.state.log_history
    facts = {"error": error, "seconds": seconds, "log": log, "penalised": trainer.penalised}
    return {**record(trainer), **facts, "state": state_of(trainer)}


class FullDisk(EntropyGRPOTrainer):
    """From step 4 on no file may grow beyond 100 kB: the kernel refuses the write, as on a full disk."""

    def _save_checkpoint(self, model, trial):
        if self.state.global_step == 4:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        super()._save_checkpoint(model, trial)


def full_disk(payload: dict[str, Any]) -> str:
    trainer = make_trainer(payload, FullDisk, **ALIGNED)
    try:
        trainer.train()
    except OSError as caught:
        return f"{type(caught).__name__}: {caught}"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    raise AssertionError(f"no error although writing failed with {errno.errorcode[errno.EFBIG]}")


class PlainTrainer(GRPOTrainer):
    """TRL's trainer under our arguments, all of them off."""


def plain_trl(payload: dict[str, Any]) -> None:
    """A checkpoint after step 4, made by TRL's own trainer."""
    trainer = make_trainer(payload, PlainTrainer, **{**ALIGNED, "max_steps": 4})
    trainer.train()


class LiveObjects(TrainerCallback):
    """How many Python objects and how many bytes of tensors are alive at the end of some steps."""

    def __init__(self, steps: tuple[int, ...]):
        self.steps, self.counts = steps, []

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step in self.steps:
            gc.collect()
            objects = gc.get_objects()
            tensors = [x for x in objects if type(x) is torch.Tensor]
            self.counts.append((len(objects), len(tensors), sum(t.nbytes for t in tensors)))


def live_objects(payload: dict[str, Any]) -> list[tuple[int, int, int]]:
    trainer = make_trainer(payload, EntropyGRPOTrainer)
    counter = LiveObjects((30, 60, 90))
    trainer.add_callback(counter)
    trainer.train()
    return counter.counts
