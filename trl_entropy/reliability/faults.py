"""What a run does when something goes wrong in flight: a step is left out, or every process stops with the same error.

All processes take the same decision, because one that stops alone leaves the others waiting in a collective. Saving is
the exception: the process that could not write stops, and the launcher ends the others.

docs/reliability.md has each fault and what is done about it.
"""

import logging
import math
from functools import cached_property
from typing import Any, cast

import torch
from accelerate.utils import DistributedType
from transformers import TrainerCallback

from .. import TrlEntropyError
from ..step.prompts import combined_rewards
from ..step.state import EntropyState
from .all_processes import all_true
from .beside_training import beside_training
from .flat_rewards import FlatRewards
from .resumption import Resumption
from .reward_watch import RewardError, watched


logger = logging.getLogger(__name__)

SKIPS_IN_A_ROW = 20


class NonFiniteError(TrlEntropyError, FloatingPointError):
    """A loss or gradient is NaN or infinite, and leaving the update out is impossible or no longer helps."""


def finite_gradients(model: torch.nn.Module) -> bool:
    """Whether every gradient that this process holds is finite: its shard, where the model is sharded."""
    gradients: list[Any] = [p.grad for p in model.parameters() if p.grad is not None]
    gradients = [g.to_local() if hasattr(g, "to_local") else g for g in gradients]
    if not gradients:
        return True
    # A sum of magnitudes is NaN or infinite if an entry is; one pass, one transfer to the host. Not in half precision,
    # where the sum of finite entries overflows
    sums = []
    for dtype in {g.dtype for g in gradients}:
        alike = [g for g in gradients if g.dtype == dtype]
        sums += torch._foreach_norm(alike, 1, dtype=torch.promote_types(dtype, torch.float32))
    return bool(torch.stack([s.to(sums[0].device) for s in sums]).isfinite().all())


class SkipNonFiniteUpdates(TrainerCallback):
    """Drops the gradients of an optimizer step when one of them, on any process, is not finite."""

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.in_a_row = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.in_a_row = 0
        self.trainer._forget_unfinished_step()  # of a `train` that failed, and was called again

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        accelerator, model, optimizer = self.trainer.accelerator, kwargs["model"], kwargs.get("optimizer")
        if optimizer is not None and all(group["lr"] == 0 for group in optimizer.param_groups):
            self.trainer.policy_stays()  # the first step of a warm-up
        if accelerator.distributed_type == DistributedType.DEEPSPEED:
            engine = self.trainer.model_wrapped
            if engine.was_step_applied():
                _check_deepspeed_step(engine, state.global_step + 1)
                self.in_a_row = 0
            else:  # it looks for itself, as float16's scaler does
                self._skipped(state.global_step + 1)
        elif accelerator.scaler is None and not all_true(accelerator, finite_gradients(model)):
            model.zero_grad(set_to_none=True)  # an optimizer passes over parameters that have no gradient
            self._skipped(state.global_step + 1)
        elif accelerator.scaler is None:
            self.in_a_row = 0

    def on_optimizer_step(self, args, state, control, **kwargs):
        accelerator = self.trainer.accelerator
        if accelerator.scaler is None:
            return
        if accelerator.optimizer_step_was_skipped:  # float16's scaler looks for itself, and lowers its scale
            self._skipped(state.global_step + 1)
        else:
            self.in_a_row = 0

    def _skipped(self, step: int) -> None:
        self.in_a_row += 1
        count = self.trainer.count_skipped_update()
        logger.warning(
            f"Step {step}: a gradient is NaN or infinite on some process, so the weights were not updated "
            f"(updates skipped so far: {count})."
        )
        if self.in_a_row >= SKIPS_IN_A_ROW:
            raise NonFiniteError(
                f"{self.in_a_row} optimizer steps in a row had a NaN or infinite gradient, up to step {step}. The "
                "weights are finite, but nothing is being learned. Lower learning_rate, set max_grad_norm, look for "
                "infinite log-probabilities, and resume from the last checkpoint."
            )


def _check_deepspeed_step(engine: Any, step: int) -> None:
    """DeepSpeed has updated the weights by now: stop, before anything is saved, if it used a bad gradient."""
    norm = engine.get_global_grad_norm()
    if norm is not None and not 0 <= float(norm) < math.inf:  # -1 is DeepSpeed's word for NaN or infinite
        raise NonFiniteError(
            f"Step {step}: the gradient norm is {float(norm)}, and DeepSpeed has already applied it. Resume from the "
            "last checkpoint, which was saved before; lower learning_rate or set max_grad_norm."
        )


class FaultTolerance(Resumption):
    """The trainer's methods that meet the faults above. Nothing changes in a step without a fault."""

    _entropy_state: EntropyState
    _generated_at: int
    _metrics: dict[str, Any]
    reward_func_names: list[str]
    reward_weights: torch.Tensor
    num_generations: int

    def policy_stays(self) -> None:
        """This step's update does not move the policy: where it is still the one that generated, it remains so."""
        if self._generated_at == self.state.global_step:
            self._generated_at += 1

    def count_skipped_update(self) -> int:
        """Count and log one skipped update; returns how many there were since the run began."""
        self.policy_stays()
        self._entropy_state.skipped_updates += 1
        # TRL logs the mean of a list: of a running count that is the count only if it stands there alone
        self._metrics["train"]["faults/skipped_updates"] = [self._entropy_state.skipped_updates]
        return self._entropy_state.skipped_updates

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = cast(torch.Tensor, super().compute_loss(model, inputs, return_outputs, num_items_in_batch))
        steps_in_backward = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        if steps_in_backward and self.model.training:
            finite = bool(loss.detach().isfinite().all())
            if not all_true(self.accelerator, finite):
                raise NonFiniteError(
                    f"Step {self.state.global_step + 1}: the loss is {'finite here' if finite else loss.item()}, NaN "
                    "or infinite on some process. DeepSpeed updates the weights inside backward, so this update "
                    "cannot be left out. The weights are good; resume from the last checkpoint."
                )
        return loss

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        with watched(self) as failures:
            rewards = super()._calculate_rewards(  # pyright: ignore[reportAttributeAccessIssue]
                inputs, prompts, completions, completion_ids_list
            )
        where = f"before step {self.state.global_step + 1}"
        if failures:
            name, error = failures[0]
            all_true(self.accelerator, False)
            raise RewardError(
                f"The reward function {name!r} failed {where} on process {self.accelerator.process_index}: "
                f"{type(error).__name__}: {error}. To go on without that completion's reward, return None for it."
            ) from error
        if not all_true(self.accelerator, True):
            raise RewardError(f"A reward function failed {where} on another process, whose output says which.")
        infinite = rewards.isinf().any(0).tolist()  # gathered by TRL: the same on every process
        if any(infinite):
            names = [name for name, bad in zip(self.reward_func_names, infinite, strict=True) if bad]
            raise RewardError(
                f"{', '.join(names)} returned an infinite reward {where}, which makes every advantage of its group "
                "NaN. Return a finite number, or None for a completion that has no reward."
            )
        unscored = int(rewards.isnan().all(1).sum())
        if unscored:
            mode = "train" if self.model.training else "eval"
            self._metrics[mode]["faults/unscored_completions"].append(unscored)
        if self.model.training:
            combined = combined_rewards(rewards, self.reward_weights)
            warning = self._flat_rewards.see(combined.view(-1, self.num_generations))
            if warning and self.accelerator.is_main_process:
                logger.warning(warning)
        return rewards

    @cached_property
    def _flat_rewards(self) -> FlatRewards:
        return FlatRewards()

    def create_model_card(self, *args, **kwargs):
        with beside_training("the model card"):
            super().create_model_card(*args, **kwargs)
