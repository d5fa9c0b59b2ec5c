"""Measure how much one update really moved entropy, beside the covariance that predicts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ..durable import append_lines
from ..functional.dynamics import dynamics_means, dynamics_sums
from ..functional.selection import Scope
from ..reliability.beside_training import beside_training
from ..reliability.log_files import DYNAMICS_FILE
from ..step.batch import scoring_arguments, token_mask
from ..step.observer import Observer
from ..step.scope import Everywhere


_ROW_KEYS = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "tool_mask")

# (rows) -> log-probabilities and entropies of the completion tokens, (B, T) each
Measure = Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]]


class EntropyDynamicsCallback(Observer, TrainerCallback):
    """Every so many steps, the entropy of the same tokens just before and just after the optimizer's update.

    Two forwards of some of the step's completions, in eval mode and without gradient, so that dropout neither blurs
    the difference nor draws from the training's random numbers. Appends to `entropy_dynamics.jsonl` and logs
    `dynamics/covariance`, `dynamics/state_covariance` and `dynamics/entropy_change`. Every process measures its own
    completions, so that sharded models can take part; what is written and logged is of all of them.

    Args:
        measure: The forward; [`forward_of`] makes it from a trainer.
        output_dir: The run's folder.
        log: Where the numbers of a step go, such as the trainer's metrics.
        every: Optimizer steps between measurements (`log_entropy_dynamics_steps`); the first step always is measured.
        completions: Completions measured a process, the first of the step's micro-batches. Of a few, the covariance is
            noise: see docs/law.md.
        scope: The processes that measure together.

    Raises:
        ValueError: If `every` or `completions` is below 1.
    """

    def __init__(
        self,
        measure: Measure,
        output_dir: str | Path,
        log: Callable[[dict[str, float]], None],
        every: int = 25,
        completions: int = 64,
        scope: Scope | None = None,
    ):
        for name, value in (("every", every), ("completions", completions)):
            if value < 1:
                raise ValueError(f"{name} is {value}: give a whole number of at least 1.")
        self.measure, self.log, self.scope = measure, log, scope or Scope()
        self.path = Path(output_dir) / DYNAMICS_FILE
        self.every, self.completions = every, completions
        self._forget()

    def _forget(self) -> None:
        self._rows: list[dict[str, torch.Tensor]] = []  # by micro-batch
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def before_loss(self, step: int, inputs: dict[str, Any]) -> None:
        """Keep completions of a micro-batch, on the steps that are measured, until there are enough.

        Args:
            step: Number of the optimizer step, from 1, as it will be logged.
            inputs: The micro-batch as TRL's loss receives it.

        Raises:
            ValueError: If the micro-batch holds images, whose rows cannot be cut out.
        """
        wanted = self.completions - sum(len(rows["advantages"]) for rows in self._rows)
        if wanted <= 0 or not (step == 1 or step % self.every == 0):
            return
        if inputs.get("pixel_values") is not None:
            raise ValueError("log_entropy_dynamics was given with images: it measures text only. Set it to false.")
        self._rows.append({key: inputs[key][:wanted].detach().clone() for key in _ROW_KEYS if key in inputs})

    def on_train_begin(self, args, state, control, **kwargs):
        """Forget a step that a failed `train` left unfinished."""
        self._forget()

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        """Before the update: the entropies as the gradient saw them."""
        self._before = [self.measure(rows) for rows in self._rows]

    def on_optimizer_step(self, args, state, control, **kwargs):
        """After the update: the same tokens again."""
        if not self._before:
            return
        parts = [
            dynamics_sums(*before, rows["advantages"], self.measure(rows)[1], token_mask(rows))
            for rows, before in zip(self._rows, self._before, strict=True)
        ]
        self._forget()
        numbers = dynamics_means(self.scope.sum(torch.stack(parts).sum(0)))
        self.log({f"dynamics/{key}": numbers[key] for key in ("covariance", "state_covariance", "entropy_change")})
        if state.is_world_process_zero:
            with beside_training(DYNAMICS_FILE):
                append_lines(self.path, [json.dumps({"step": state.global_step + 1, **numbers})])


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in eval mode, and afterwards every module in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def dynamics_of(trainer: Any) -> EntropyDynamicsCallback | None:
    """The callback that an [`EntropyGRPOTrainer`]'s arguments ask for, None when off."""
    args = trainer.args
    if not args.log_entropy_dynamics:
        return None
    return EntropyDynamicsCallback(
        forward_of(trainer),
        args.output_dir,
        trainer.log_numbers,
        every=args.log_entropy_dynamics_steps,
        scope=Everywhere(trainer.accelerator),
    )


def forward_of(trainer: Any) -> Measure:
    """The scoring forward of a `GRPOTrainer`, in eval mode and without gradient.

    Raises:
        ValueError: Under DeepSpeed, whose engine updates the weights inside the backward pass, so that there is no
            moment before the update.
    """
    if trainer.is_deepspeed_enabled:
        raise ValueError(
            "log_entropy_dynamics was given with DeepSpeed: its engine updates the weights inside the backward pass, "
            "so the entropy before an update cannot be measured. Set it to false, or use DDP or FSDP."
        )

    def measure(rows: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        arguments, _ = scoring_arguments(rows)
        with torch.no_grad(), evaluating(trainer.model):
            logps, entropy, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, *arguments, compute_entropy=True
            )
        return logps.float(), entropy.float()

    return measure
