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
from ..functional.dynamics import LOGP_EDGES, dynamics_terms, entropy_drivers
from ..reliability.beside_training import beside_training
from ..reliability.log_files import DYNAMICS_FILE
from ..step.observer import Observer


_ROW_KEYS = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages")

# (rows) -> log-probabilities and entropies of the completion tokens, (B, T) each
Measure = Callable[[dict[str, torch.Tensor]], tuple[torch.Tensor, torch.Tensor]]


class EntropyDynamicsCallback(Observer, TrainerCallback):
    """Every so many steps, the entropy of the same tokens just before and just after the optimizer's update.

    Two forwards of a few completions, in eval mode and without gradient, so that dropout neither blurs the difference
    nor draws from the training's random numbers. Appends to `entropy_dynamics.jsonl` and logs `dynamics/covariance`,
    `dynamics/state_covariance` and `dynamics/entropy_change`. Every process measures its own completions, so that
    sharded models can take part; the main process writes what it measured.

    Args:
        measure: The forward; [`forward_of`] makes it from a trainer.
        output_dir: The run's folder.
        log: Where the figures of a step go, such as the trainer's metrics.
        every: Optimizer steps between measurements (`log_entropy_dynamics_steps`); the first step always is measured.
        sequences: Completions measured, from the step's first micro-batch.

    Raises:
        ValueError: If `every` or `sequences` is below 1.
    """

    def __init__(
        self,
        measure: Measure,
        output_dir: str | Path,
        log: Callable[[dict[str, float]], None],
        every: int = 25,
        sequences: int = 2,
    ):
        for name, value in (("every", every), ("sequences", sequences)):
            if value < 1:
                raise ValueError(f"{name} is {value}: give a whole number of at least 1.")
        self.measure, self.log = measure, log
        self.path = Path(output_dir) / DYNAMICS_FILE
        self.every, self.sequences = every, sequences
        self._rows: dict[str, torch.Tensor] | None = None
        self._before: tuple[torch.Tensor, torch.Tensor] | None = None

    def before_loss(self, step: int, inputs: dict[str, Any]) -> None:
        """Keep the first completions of the step's first micro-batch, on the steps that are measured.

        Args:
            step: Number of the optimizer step, from 1, as it will be logged.
            inputs: The micro-batch as TRL's loss receives it.

        Raises:
            ValueError: If the micro-batch holds images, whose rows cannot be cut out.
        """
        if self._rows is not None or not (step == 1 or step % self.every == 0):
            return
        if inputs.get("pixel_values") is not None:
            raise ValueError("log_entropy_dynamics was given with images: it measures text only. Set it to false.")
        rows = {key: inputs[key][: self.sequences].detach().clone() for key in _ROW_KEYS}
        if "tool_mask" in inputs:
            rows["tool_mask"] = inputs["tool_mask"][: self.sequences].detach().clone()
        self._rows = rows

    def on_train_begin(self, args, state, control, **kwargs):
        """Forget a step that a failed `train` left unfinished."""
        self._rows = self._before = None

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        """Before the update: the entropies as the gradient saw them."""
        if self._rows is not None:
            self._before = self.measure(self._rows)

    def on_optimizer_step(self, args, state, control, **kwargs):
        """After the update: the same tokens again."""
        if self._rows is None or self._before is None:
            return
        figures = compare(self._rows, self._before, self.measure(self._rows)[1])
        self._rows = self._before = None
        self.log({f"dynamics/{key}": figures[key] for key in ("covariance", "state_covariance", "entropy_change")})
        if state.is_world_process_zero:
            with beside_training(DYNAMICS_FILE):
                append_lines(self.path, [json.dumps({"step": state.global_step + 1, **figures})])


@torch.no_grad()
def compare(
    rows: dict[str, torch.Tensor], before: tuple[torch.Tensor, torch.Tensor], entropy_after: torch.Tensor
) -> dict[str, Any]:
    """One line of `entropy_dynamics.jsonl`, without its step: plain numbers, nats.

    `drivers` lists, by sign of advantage and log-probability bin, the share of tokens and their parts of the mean
    covariance and of the mean entropy change.
    """
    mask = (rows["completion_mask"] * rows.get("tool_mask", 1)).bool()
    logps, entropy = before
    tokens = mask.sum().clamp(min=1)
    change = torch.where(mask, entropy_after - entropy, torch.zeros_like(entropy))
    table = entropy_drivers(logps, rows["advantages"], change, mask).tolist()
    bounds = (None, *LOGP_EDGES, None)
    return {
        **{key: value.item() for key, value in dynamics_terms(logps, entropy, rows["advantages"], mask).items()},
        "entropy_before": (torch.where(mask, entropy, torch.zeros_like(entropy)).sum() / tokens).item(),
        "entropy_change": (change.sum() / tokens).item(),
        "tokens": int(mask.sum()),
        "drivers": [
            {
                "sign": sign,
                "logp": [bounds[i], bounds[i + 1]],
                "share": share,
                "covariance": covariance,
                "change": moved,
            }
            for sign, bins in zip(("+", "-"), table, strict=True)
            for i, (share, covariance, moved) in enumerate(bins)
        ],
    }


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
        forward_of(trainer), args.output_dir, trainer.log_numbers, every=args.log_entropy_dynamics_steps
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
        ids = torch.cat([rows["prompt_ids"], rows["completion_ids"]], dim=1)
        attention = torch.cat([rows["prompt_mask"], rows["completion_mask"]], dim=1)
        with torch.no_grad(), evaluating(trainer.model):
            logps, entropy, _ = trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, attention, rows["completion_ids"].size(1), compute_entropy=True
            )
        return logps.float(), entropy.float()

    return measure
