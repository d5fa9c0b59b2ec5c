"""`GRPOTrainer` with entropy control. Plumbing only: the math is in `functional`, TRL's loss stays TRL's."""

import logging
import math
from contextlib import nullcontext
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from peft import PeftModel
from transformers import PreTrainedModel
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from . import metrics
from .callbacks.dynamics_watch import dynamics_of
from .callbacks.run_log import RunLogCallback
from .callbacks.token_map import token_map_of
from .config import EntropyGRPOConfig
from .functional import (
    aggregate_token_loss,
    anchored_penalty,
    kl_cov_penalty,
    masked_mean,
    peak_entropy_mask,
    select_clip_cov,
    select_kl_cov,
    sequence_means,
    token_covariance,
)
from .guard import EntropyGuard, guard_sums
from .hub import card as model_card
from .lm_head import add_nucleus_entropy
from .reliability.faults import FaultTolerance, SkipNonFiniteUpdates
from .step.micro_batch import MicroBatch, clean_padding, silenced, token_mask
from .step.scope import global_clip_cov, global_covariance, global_kl_cov, seeded
from .step.state import fresh, measured_under, restored
from .step.window import StepWindow


logger = logging.getLogger(__name__)

# Batch keys that TRL's scoring forward takes besides token ids, for models that see more than text
_FORWARD_KEYS = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
# Of the share of sequences that counted, what a step keeps: one step alone would be noise in the penalty's weight
_SHARE_MEMORY = 0.9
_CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


class EntropyGRPOTrainer(FaultTolerance, GRPOTrainer):
    r"""
    [`~trl.GRPOTrainer`] with SIREN (arXiv 2509.25133), Clip-Cov and KL-Cov (arXiv 2505.22617).

    Takes what `GRPOTrainer` takes, with an [`EntropyGRPOConfig`] as `args`. With every method off it is `GRPOTrainer`,
    number for number.

    Example:

    ```python
    from datasets import load_dataset
    from trl.rewards import accuracy_reward
    from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer

    trainer = EntropyGRPOTrainer(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        reward_funcs=accuracy_reward,
        args=EntropyGRPOConfig(siren_coef=0.005),
        train_dataset=load_dataset("trl-lib/DeepMath-103K", split="train"),
    )
    trainer.train()
    ```

    Raises:
        TypeError: when `args` is a plain `GRPOConfig`, which lacks the arguments.
    """

    _tag_names = ["trl", "grpo", "entropy-control"]
    _name = "GRPO with entropy control"
    args: EntropyGRPOConfig
    model: PreTrainedModel

    def __init__(self, model, reward_funcs=None, args: EntropyGRPOConfig | None = None, *rest, **kwargs):
        if args is None:
            args = EntropyGRPOConfig(output_dir="EntropyGRPO")
        if not isinstance(args, EntropyGRPOConfig):
            raise TypeError(
                f"args is a {type(args).__name__}, but EntropyGRPOTrainer needs an EntropyGRPOConfig, which takes the "
                "same arguments and those of the entropy methods."
            )
        super().__init__(model, reward_funcs, args, *rest, **kwargs)
        self._paper = model_card.paper(args)
        self._tag_names = [*type(self)._tag_names, *(name.lower() for name in args.entropy_methods)]
        self._forget_unfinished_step()
        self._entropy_state = fresh(args)
        self._generated_at = -1  # optimizer step at which the completions in use were generated
        self._guard = EntropyGuard(args) if args.entropy_guard else None
        self._token_map = token_map_of(self)
        self._observes = bool(
            args.entropy_methods or args.log_entropy_details or args.log_token_map or args.entropy_guard
        )
        self.add_callback(RunLogCallback())
        self.add_callback(SkipNonFiniteUpdates(self))
        self._dynamics = dynamics_of(self)
        if self._dynamics:
            self.add_callback(self._dynamics)
        self._nucleus_head = None
        if args.siren:
            policy = cast(PeftModel, self.model).get_base_model() if is_peft_model(self.model) else self.model
            self._nucleus_head = add_nucleus_entropy(
                cast(PreTrainedModel, policy), args.siren_top_p, args.siren_nucleus
            )
        if args.kl_cov and not args.kl_cov_clip:
            self.epsilon_low = self.epsilon_high = math.inf

    def _forget_unfinished_step(self) -> None:
        self._micro: MicroBatch | None = None
        self._window = StepWindow()

    # --- scoring: batch-scope selection, once a generation -----------------------------------------------------------

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.model.training:
            self._generated_at = self.state.global_step
            if (self.args.clip_cov or self.args.kl_cov) and self.args.entropy_scope == "batch":
                output["entropy_selected"], output["entropy_covariance"] = self._select_over_batch(output)
        return output

    def _select_over_batch(self, output: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The selected tokens and the covariance that they were selected by, (B, T) each."""
        logps = output.get("old_per_token_logps")
        logps = self._generating_logps(output) if logps is None else logps
        mask, advantages = token_mask(output), output["advantages"]
        covariance, tokens = global_covariance(self.accelerator, logps, advantages, mask)
        args = self.args
        if args.clip_cov:
            generator = seeded(args.seed, self._next_draw())
            band = (args.clip_cov_low, args.clip_cov_high)
            selected = global_clip_cov(
                self.accelerator, covariance, mask, tokens, args.clip_cov_ratio, *band, generator
            )
        else:
            selected = global_kl_cov(self.accelerator, covariance, mask, tokens, args.kl_cov_ratio)
        window = StepWindow()
        window.add(*metrics.covariance_sums(covariance, selected, advantages, mask))
        self._log_metrics(metrics.covariance_metrics(window.close(self.accelerator)))
        return selected, covariance

    def _generating_logps(self, output: dict[str, Any]) -> torch.Tensor:
        """Log-probabilities of the policy that generated, where TRL did not need them (strictly on-policy updates)."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        with (
            torch.no_grad(),
            disable_gradient_checkpointing(self.model, cast(dict, self.args.gradient_checkpointing_kwargs)),
        ):
            logps, _, _ = self._get_per_token_logps_and_entropies(
                self.model,
                ids,
                attention,
                output["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
                **{key: output[key] for key in _FORWARD_KEYS if key in output},
            )
        return logps

    # --- the loss: TRL's, plus the added terms -----------------------------------------------------------------------

    def _compute_loss(self, model, inputs):
        if self._dynamics and self.model.training:
            self._dynamics.observe(self.state.global_step + 1, inputs)
        if not (self._observes and self.model.training):
            return super()._compute_loss(model, inputs)
        self._micro = micro = MicroBatch(
            inputs=clean_padding(inputs),
            mask=token_mask(inputs),
            advantages=inputs["advantages"],
            selected=inputs.get("entropy_selected"),
            covariance=inputs.get("entropy_covariance"),
        )
        if self.args.clip_cov and micro.selected is not None:
            micro.inputs["advantages"] = silenced(micro.advantages, micro.selected)
        try:
            loss = super()._compute_loss(model, micro.inputs)
        finally:
            self._micro = None
        return loss + self._added_loss(micro)

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        micro = self._micro
        if micro is None:  # scoring, not the loss
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        with self._nucleus_head.measuring() if self._nucleus_head else nullcontext():
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if self._nucleus_head:
            entropies, micro.nucleus_entropy, micro.nucleus_size = entropies.unbind(-1)
        old_logps = micro.inputs.get("old_per_token_logps")
        micro.logps, micro.entropy = logps, entropies
        micro.old_logps = logps.detach() if old_logps is None else old_logps
        if (self.args.clip_cov or self.args.kl_cov) and self.args.entropy_scope == "micro_batch":
            self._select_in_micro_batch(micro)
        return logps, entropies, aux_loss

    def _select_in_micro_batch(self, micro: MicroBatch) -> None:
        args, mask, logps = self.args, micro.mask, micro.logps.detach()
        micro.covariance = covariance = token_covariance(logps, micro.advantages, mask)
        if args.clip_cov:
            generator = seeded(args.seed, self.accelerator.process_index, self._next_draw())
            eligible = covariance.masked_fill(self._ppo_clipped(micro), -torch.inf)
            band = (args.clip_cov_low, args.clip_cov_high)
            micro.selected = select_clip_cov(eligible, mask, args.clip_cov_ratio, *band, generator)
            # TRL reads the advantages after this forward
            micro.inputs["advantages"] = silenced(micro.advantages, micro.selected)
        else:
            micro.selected = select_kl_cov(covariance, mask, args.kl_cov_ratio)
        self._window.add(*metrics.covariance_sums(covariance, micro.selected, micro.advantages, mask))

    def _ppo_clipped(self, micro: MicroBatch) -> torch.Tensor:
        """Tokens whose gradient PPO's clip already removes. (B, T), bool."""
        if self.loss_type not in _CLIPPED_LOSSES:
            return torch.zeros_like(micro.mask)
        ratio = torch.exp(micro.logps.detach() - micro.old_logps)
        advantages = micro.advantages.unsqueeze(-1) if micro.advantages.dim() == 1 else micro.advantages
        over = (ratio > 1 + self.epsilon_high) & (advantages > 0)
        under = (ratio < 1 - self.epsilon_low) & (advantages < 0)
        if self.args.delta is not None:  # the upper bound of two-sided clipping
            under |= (ratio > self.args.delta) & (advantages < 0)
        return over | under

    def _added_loss(self, micro: MicroBatch) -> torch.Tensor:
        """SIREN's and KL-Cov's terms, scaled for accumulation as TRL scales its own; closes the window at its end."""
        loss = micro.logps.new_zeros(())
        if self.args.siren:
            loss = loss + self._siren_loss(micro)
        if self.args.kl_cov and self._policy_moved():
            loss = loss + self._kl_cov_loss(micro)
        self._window.add(metrics.entropy_sums(micro.entropy, micro.advantages, micro.mask))
        if self._guard:
            self._window.add(guard_sums(micro.entropy, micro.mask))
        self._record_tokens(micro)
        if self.accelerator.sync_gradients:
            self._close_window()
        return loss / self.current_gradient_accumulation_steps

    def _siren_loss(self, micro: MicroBatch) -> torch.Tensor:
        args, state = self.args, self._entropy_state
        coef = args.siren_coef * state.guard_scale
        kept = peak_entropy_mask(micro.nucleus_entropy.detach(), micro.mask, args.siren_quantile)
        self._window.add(metrics.siren_sums(micro.nucleus_entropy, micro.nucleus_size, kept, micro.mask))
        means, counted = sequence_means(micro.nucleus_entropy, kept)
        if state.anchor is None:
            return means.sum() * 0.0
        if args.entropy_scope == "micro_batch":
            penalty = anchored_penalty(masked_mean(means, counted), state.anchor, coef, args.siren_penalty)
            return penalty * counted.any()
        if state.entropy is None:  # siren_anchor was given: the first step measures where the policy stands
            return means.sum() * 0.0
        # The number of sequences that count is known only when the step is over. Its stand-in must not depend on the
        # split: the sequences of this micro-batch, times the share that counted in the steps before.
        entropy = means.sum() / (len(means) * state.counted_share)
        return anchored_penalty(entropy, state.anchor, coef, args.siren_penalty, reference=state.entropy)

    def _kl_cov_loss(self, micro: MicroBatch) -> torch.Tensor:
        selected = cast(torch.Tensor, micro.selected)
        per_token = kl_cov_penalty(micro.logps, micro.old_logps, selected, self.args.kl_cov_coef)
        # `num_items_in_batch` spans the generation batch of all processes; one backward pass has this part of it
        items = micro.inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        return aggregate_token_loss(
            per_token,
            micro.mask,
            self.loss_type,
            max_completion_length=self.max_completion_length,
            num_items=items / self.args.steps_per_generation,
        )

    def _policy_moved(self) -> bool:
        """Whether an update lies between these completions' generation and this step; KL-Cov is 0 before one does."""
        return self.state.global_step > self._generated_at

    def _record_tokens(self, micro: MicroBatch) -> None:
        step, args = self.state.global_step + 1, self.args
        if self._token_map is None or not self._token_map.due(step):
            return
        nucleus, size, kept = None, None, None
        if args.siren:
            nucleus, size = micro.nucleus_entropy, micro.nucleus_size
            kept = peak_entropy_mask(nucleus.detach(), micro.mask, args.siren_quantile)
        self._token_map.observe(
            step,
            micro.inputs["prompt_ids"],
            micro.inputs["prompt_mask"],
            micro.inputs["completion_ids"],
            micro.mask,
            micro.logps,
            micro.entropy,
            micro.advantages,
            nucleus,
            size,
            covariance=micro.covariance,
            kept=kept,
            clipped=micro.selected if args.clip_cov else None,
            penalised=micro.selected if args.kl_cov and self._policy_moved() else None,
        )

    # --- the end of an optimizer step --------------------------------------------------------------------------------

    def _close_window(self) -> None:
        totals = self._window.close(self.accelerator)
        self._log_metrics(metrics.entropy_metrics(totals))
        if "covariance" in totals:
            self._log_metrics(metrics.covariance_metrics(totals))
        if self.args.siren:
            self._close_siren(totals)
        if self._guard:
            self._close_guard(self._guard, totals)

    def _close_siren(self, totals: dict[str, float]) -> None:
        state, args = self._entropy_state, self.args
        penalty = math.nan
        if totals["sequences_counted"] and math.isfinite(totals["sequence_entropy"]):
            first = state.entropy is None
            state.entropy = totals["sequence_entropy"] / totals["sequences_counted"]
            share = totals["sequences_counted"] / totals["sequences"]
            state.counted_share = share if first else _SHARE_MEMORY * state.counted_share + (1 - _SHARE_MEMORY) * share
            if state.anchor is None:
                state.anchor, state.measured_under = state.entropy, measured_under(args)
            here = torch.tensor(state.entropy, dtype=torch.float64)
            coef = args.siren_coef * state.guard_scale
            penalty = anchored_penalty(here, state.anchor, coef, args.siren_penalty).item()
        self._log_metrics(metrics.siren_metrics(totals, state.anchor, penalty))

    def _close_guard(self, guard: EntropyGuard, totals: dict[str, float]) -> None:
        state = self._entropy_state
        if guard.check(totals, state, self.state.global_step + 1):
            self.control.should_training_stop = self.control.should_save = True
        self._scale_entropy_bonus()
        self._log_metrics({"guard/scale": state.guard_scale})

    def _scale_entropy_bonus(self) -> None:
        if not self.use_adaptive_entropy:  # TRL's controller moves its own
            self.entropy_coef = self.args.entropy_coef * self._entropy_state.guard_scale

    def _log_metrics(self, figures: dict[str, float]) -> None:
        for key, value in figures.items():
            self._metrics["train"][key].append(value)

    def _next_draw(self) -> int:
        self._entropy_state.draws += 1
        return self._entropy_state.draws

    # --- checkpoints and card ----------------------------------------------------------------------------------------

    def _finish_checkpoint(self, folder):
        if (self.args.entropy_methods or self._guard) and self.args.should_save:
            self._entropy_state.save(folder)
        super()._finish_checkpoint(folder)

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and (self.args.entropy_methods or self._guard):
            self._entropy_state = restored(checkpoint, self.args)
            self._scale_entropy_bonus()

    def create_model_card(self, model_name=None, dataset_name=None, tags=None):
        super().create_model_card(model_name, dataset_name, tags)
        if self.is_world_process_zero():
            try:
                model_card.add_entropy_section(self)
            except Exception as error:  # such as an evaluation that is just being written: no card is worth a run
                logger.warning(
                    f"The model card lacks its section on entropy ({type(error).__name__}: {error}). `trl-entropy "
                    f"push {self.args.output_dir}` writes it again."
                )
