"""What the ranks of a job run: training with completions fixed in advance, and a record of all that must agree."""

import os
import random
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback

from tests.conftest import WORDS, tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.methods import CONTROLLERS, METHODS, Method


PROMPTS = ["a b", "c d e", "f g", "h i j k"]


def fixed_completions(count: int, longest: int = 12) -> list[list[int]]:
    """Token ids of very different lengths, one to `longest`; some end with <eos> (1), some are cut."""
    source = random.Random(3)
    lengths = [source.choice((1, 2, 3, 5, 8, longest)) for _ in range(count)]
    words = [[source.randrange(3, len(WORDS)) for _ in range(length)] for length in lengths]
    return [[*ids[:-1], 1] if len(ids) < longest else ids for ids in words]


class FixedTrainer(EntropyGRPOTrainer):
    """The trainer, with completions given by their place in the whole batch, whichever process has that place."""

    completions = fixed_completions(64)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.generations = 0
        self.selections: list[set[tuple[int, int]]] = []

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        here, world = len(prompt_ids), self.accelerator.num_processes
        first = self.generations * here * world + self.accelerator.process_index * here
        self.generations += 1
        ids = [self.completions[(first + i) % len(self.completions)] for i in range(here)]
        return ids, None

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        for name in sorted(key for key in output if key.endswith("/selected")):
            rows, columns = output[name].nonzero(as_tuple=True)
            first = self.accelerator.process_index * len(inputs)
            self.selections.append({(first + r, c) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)})
        return output


class Recorder(TrainerCallback):
    """Whole gradients at the end of every optimizer step, before the optimizer sees them."""

    def __init__(self):
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(
            {
                name.removeprefix("module."): whole(p.grad).clone()
                for name, p in model.named_parameters()
                if p.grad is not None
            }
        )


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with all its shards."""
    tensor = tensor.detach()
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def arguments(payload: dict[str, Any], **defaults) -> EntropyGRPOConfig:
    """Arguments of a quick run with plain gradient descent, so that a small difference stays small."""
    return EntropyGRPOConfig(
        **{
            "output_dir": payload["folder"],
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "logging_steps": 1,
            "save_strategy": "no",
            "max_steps": 3,
            "learning_rate": 0.01,
            "lr_scheduler_type": "constant",
            "optim": "sgd",
            "max_grad_norm": 0.0,
            "num_generations": 4,
            "max_completion_length": 12,
            "gradient_checkpointing": False,
            "disable_tqdm": True,
            "shuffle_dataset": False,
            "loss_type": "dr_grpo",
            "seed": 7,
            **defaults,
            **payload.get("arguments", {}),
        }
    )


def make_trainer(payload: dict[str, Any], trainer_class=FixedTrainer, reward=vowel_reward, **defaults):
    """A trainer on the tiny model, with LoRA when `payload["lora"]` says so."""
    torch.set_num_threads(1)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]) if payload.get("lora") else None
    args = arguments(payload, **defaults)
    torch.manual_seed(5)
    return trainer_class(
        model=tiny_model(),
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 4}),
        processing_class=tiny_tokenizer(),
        peft_config=lora,
    )


def figures(trainer) -> list[dict[str, float]]:
    """What was logged in each step and must not depend on the split: not the times, nor quantiles of micro-batches."""
    keep = {metric.key for method in METHODS for metric in method.metrics}
    keep = (*keep, "advantage/", "entropy/positive", "entropy/negative", "dynamics/", "reward", "loss")
    keep = (*keep, "completions/mean_length")
    return [
        {k: v for k, v in entry.items() if k.startswith(keep)}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def record(trainer, recorder: Recorder | None = None) -> dict[str, Any]:
    """Everything a parity test compares."""
    siren = next((method.state for method in trainer.methods if method.key == "siren"), None)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return {
        "world_size": trainer.accelerator.num_processes,
        "strategy": str(trainer.accelerator.distributed_type),
        "anchor": siren and siren.anchor,
        "entropy": siren and siren.entropy,
        "selections": getattr(trainer, "selections", None),
        "gradients": recorder.gradients if recorder else None,
        "figures": figures(trainer),
        "weights": {name.removeprefix("module."): whole(v).clone() for name, v in (weights or {}).items()},
    }


def train(payload: dict[str, Any]) -> dict[str, Any]:
    """Train as the payload says and return the record."""
    trainer = make_trainer(payload)
    if "completions" in payload:
        trainer.completions = payload["completions"]
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    return record(trainer, recorder)


def train_many(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Several runs in one launch, one after another."""
    folders = [os.path.join(payload["folder"], str(i)) for i in range(len(payload["runs"]))]
    return [train({**payload, **run, "folder": folder}) for run, folder in zip(payload["runs"], folders, strict=True)]


def sharded(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Full fine-tuning and LoRA: three steps with a checkpoint after the second, then the third step again from it."""
    results = []
    for name, lora in (("full", False), ("lora", True)):
        folder = os.path.join(payload["folder"], name)
        job = {**payload, "lora": lora, "folder": folder}
        defaults = {"save_strategy": "steps", "save_steps": 2}
        trainer = make_trainer(job, **defaults)
        trainer.train()
        whole = record(trainer)
        resumed = make_trainer(job, **{**defaults, "save_strategy": "no"})
        resumed.generations = 1
        resumed.train(resume_from_checkpoint=os.path.join(folder, "checkpoint-2"))
        results.append({"name": name, "whole": whole, "resumed": record(resumed)})
    return results


def sharded_with_a_fault(payload: dict[str, Any]) -> dict[str, Any]:
    """As `sharded`, then a run whose loss is NaN on one process in the second step."""
    from tests.reliability.workers import faulty

    runs = sharded(payload)
    broken = {"folder": os.path.join(payload["folder"], "fault"), "steps": [1]}
    arguments = {**payload["arguments"], "save_strategy": "no", "max_steps": 3}
    return {"runs": runs, "fault": faulty({**payload, **broken, "arguments": arguments})}


class Onlooker(Method):
    """Keeps what a method is shown of every generation, by prompt."""

    key, name, summary = "onlooker", "Onlooker", ("nothing", "in tests", "none")

    def __init__(self):
        self.seen: list[dict[str, torch.Tensor]] = []

    def needs(self):
        return frozenset({"logps"})

    def group_advantages(self, group):
        shown = {"rewards": group.rewards, "advantages": group.advantages, "logps": group.mean_logps}
        self.seen.append({name: values.clone() for name, values in shown.items()})
        return group.advantages


def sum_is_odd(completion_ids, **_) -> list[float]:
    """Right or wrong, and nearly every group holds both."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def every_method(payload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One run with nothing on and one for each method and controller with its example, by key.

    Controllers move REPO's coefficient: TRL's bonus is a mean over each micro-batch, which is not that of the batch.
    """
    examples = {part.key: dict(part.example) for part in METHODS}
    examples |= {kind.key: {**kind.example, "entropy_coef": 0.0, "repo_zeta": 0.2} for kind in CONTROLLERS}
    results = {}
    for key, example in {"plain": {}, **examples}.items():
        onlooker = Onlooker()
        methods = {"methods": [onlooker]} if key == "plain" else {}
        job = {**payload, "arguments": {**payload["arguments"], **example}}
        trainer = make_trainer(job, partial(FixedTrainer, **methods), sum_is_odd)
        trainer.completions = payload["completions"]
        recorder = Recorder()
        trainer.add_callback(recorder)
        trainer.train()
        results[key] = {
            **record(trainer, recorder),
            "seen": onlooker.seen,
            "states": {part.key: asdict(part.state) for part in trainer._parts},
            "gains": {method.key: method.gain for method in trainer.methods},
        }
    return results
