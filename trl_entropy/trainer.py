"""Entropy control on TRL's loss. Plumbing only: the methods are in `methods`, the math is in `functional`."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any, cast

import torch
from transformers import PreTrainedModel
from trl.models.utils import disable_gradient_checkpointing

from . import metrics
from .config import EntropyGRPOConfig
from .functional.aggregate import aggregate_token_loss
from .functional.clipping import CLIPPED_LOSSES, ppo_clipped
from .functional.covariance import per_token
from .functional.selection import Scope
from .lm_head import head_for
from .methods import Method, Micro, View, methods_on, overrides
from .reliability.faults import FaultTolerance, SkipNonFiniteUpdates
from .reliability.foreign_engine import check_engine
from .step.batch import scoring_arguments, token_mask
from .step.controls import Controls
from .step.generation import act_on_generation, micro_of
from .step.observer import Observer
from .step.prompts import combined_rewards, group_of, relog
from .step.restart import restored
from .step.scope import Everywhere, seeded
from .step.state import EntropyState
from .step.window import StepWindow


class EntropyControl(FaultTolerance):
    """Entropy control for any `GRPOTrainer`: `class Mine(EntropyControl, MyGRPOTrainer)`.

    Takes an [`EntropyGRPOConfig`] as `args`, and in `methods` instances of a user's own
    [`Method`][trl_entropy.methods.base.Method] beside those that the arguments switch on.

    Raises:
        TypeError: when `args` is a plain `GRPOConfig`, which lacks the arguments.
        ValueError: for two methods of one key, or that ask the head for different things.
    """

    args: EntropyGRPOConfig
    model: PreTrainedModel

    def __init__(self, model, reward_funcs=None, args=None, *rest, methods: Iterable[Method] = (), **kwargs):
        if args is None:
            args = EntropyGRPOConfig(output_dir="EntropyGRPO")
        if not isinstance(args, EntropyGRPOConfig):
            raise TypeError(
                f"args is a {type(args).__name__}, but {type(self).__name__} needs an EntropyGRPOConfig, which takes "
                "the same arguments and those of the entropy methods."
            )
        own = tuple(methods)
        args.check_with(own)
        self.methods = tuple(method.attach(args) for method in (*(kind() for kind in methods_on(args)), *own))
        super().__init__(model, reward_funcs, args, *rest, **kwargs)
        check_engine(self)
        self._entropy_state = EntropyState()
        self._controls = Controls(args, self.methods)
        self._forget_unfinished_step()
        self.observers: list[Observer] = []
        self._parts = (*self.methods, *self._controls.controllers)
        self._observes = bool(self._parts) or args.log_entropy_details
        self._head = head_for(self.model, (method.head() for method in self.methods))
        for method in self.methods:
            self.epsilon_low, self.epsilon_high = method.clip(self.epsilon_low, self.epsilon_high)
        self.add_callback(SkipNonFiniteUpdates(self))

    def observe(self, observer: Observer) -> None:
        """Let `observer` see every micro-batch of training."""
        self.observers.append(observer)

    def log_numbers(self, numbers: dict[str, float]) -> None:
        """The one door into TRL's log: each number is averaged over the steps of a logging interval."""
        for key, value in numbers.items():
            self._metrics["train"][key].append(value)

    def _forget_unfinished_step(self) -> None:
        self._micro: Micro | None = None
        self._scored: dict[str, torch.Tensor] | None = None
        self._needs: frozenset[str] | None = None  # what is read off the scoring forward; None outside of it
        self._window = StepWindow()
        self._controls.begin(self, self._progress)
        self._generated_at = -1  # optimizer step at which the completions in use were generated

    # --- scoring: once a generation, over all processes --------------------------------------------------------------

    def _calculate_rewards(self, *args, **kwargs):
        self._rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rewards

    def _generate_and_score_completions(self, inputs):
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        self._scored, self._needs = None, frozenset().union(*(method.needs() for method in self.methods))
        try:
            output = super()._generate_and_score_completions(inputs)
            if "old_per_token_logps" not in output:
                self._scored = None  # what was seen is the reference model
            if self._needs and self._scored is None:
                self._scored = self.score(output)
        finally:
            self._needs = None
        self._generated_at = self.state.global_step
        scope = Everywhere(self.accelerator, self._next_generator)
        rewards = combined_rewards(self._rewards, self.reward_weights)
        size = cast(int, self.num_generations)
        group = group_of(rewards, output["advantages"], size, self._scored, token_mask(output), scope)
        group.progress = self._progress
        self.log_numbers(act_on_generation(self.methods, self.args, output, group, self._scored or {}, scope))
        if any(overrides(method, "group_advantages") for method in self.methods):
            relog(self._logs["advantages"], group.advantages)
        self._scored = None
        return output

    def score(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """What the policy says of a batch's completions: `logps`, `entropy`, the head's channels. (B, T) each."""
        arguments, more = scoring_arguments(batch)
        kwargs = cast(dict, self.args.gradient_checkpointing_kwargs)
        with torch.no_grad(), disable_gradient_checkpointing(self.model, kwargs):
            size = self.args.per_device_train_batch_size
            scoring = "head" not in (self._needs or ())
            return self._forward(scoring, self.model, *arguments, batch_size=size, compute_entropy=True, **more)[1]

    def _forward(self, scoring: bool, model, *args, **kwargs) -> tuple[Any, dict[str, torch.Tensor]]:
        """TRL's forward through our head: what it returned, and all that it measured by name."""
        with self._head.measuring(scoring) if self._head else nullcontext():
            logps, entropy, *rest = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        channels = {}
        if self._head and entropy is not None:
            entropy, channels = self._head.split(entropy)
        measured = {"logps": logps, **({} if entropy is None else {"entropy": entropy}), **channels}
        return (logps, entropy, *rest), measured

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        if self._micro is not None:
            result, measured = self._forward(False, model, *args, **kwargs)
            self._after_forward(self._micro, measured)
        elif self._needs is not None and model is self.model and self._scored is None:
            # Old log-probabilities of the head that the loss uses: what lies between is the policy's move alone
            if self._needs - {"logps"}:
                kwargs["compute_entropy"] = True
            result, self._scored = self._forward("head" not in self._needs, model, *args, **kwargs)
        else:
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        return result

    # --- the loss: TRL's, plus the added terms -----------------------------------------------------------------------

    def _compute_loss(self, model, inputs):
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        for observer in self.observers:
            observer.before_loss(self.state.global_step + 1, inputs)
        if not (self._observes or self.observers):
            return super()._compute_loss(model, inputs)
        self._micro = micro = micro_of(inputs, moved=self.state.global_step > self._generated_at)
        try:
            loss = super()._compute_loss(model, micro.inputs)
        finally:
            self._micro = None
        return loss + self._added_loss(micro) / self.current_gradient_accumulation_steps

    def _after_forward(self, micro: Micro, measured: dict[str, torch.Tensor]) -> None:
        micro.logps, micro.entropy = measured["logps"], measured["entropy"]
        old_logps = micro.inputs.get("old_per_token_logps")
        micro.old_logps = micro.logps.detach() if old_logps is None else old_logps
        micro.head = {name: value for name, value in measured.items() if name not in ("logps", "entropy")}
        if self.args.entropy_scope == "micro_batch":
            self._select_in_micro_batch(micro, {name: value.detach() for name, value in measured.items()})
        for method in self.methods:
            if overrides(method, "shape"):  # TRL reads the advantages after this forward
                advantages = per_token(micro.inputs["advantages"], micro.mask)
                micro.inputs["advantages"] = method.shape(advantages, micro)

    def _select_in_micro_batch(self, micro: Micro, scored: dict[str, torch.Tensor]) -> None:
        clipped = torch.zeros_like(micro.mask)
        if self.loss_type in CLIPPED_LOSSES:
            epsilons = (self.epsilon_low, self.epsilon_high, self.args.delta)
            clipped = ppo_clipped(scored["logps"], micro.old_logps, micro.advantages, *epsilons)
        view = View(micro.advantages, micro.mask, micro.informative, scored, clipped)
        scope = Scope(lambda: self._next_generator(self.accelerator.process_index))
        for method in self.methods:
            micro.chosen[method.key] = method.select(view, scope)
            self._window.add(f"{method.key}/selection", *method.selection_sums(view, micro.chosen[method.key]))

    def _added_loss(self, micro: Micro) -> torch.Tensor:
        """The methods' terms, for one backward pass; closes the step's window at its end."""
        loss = micro.logps.new_zeros(())
        for method in self.methods:
            added = method.loss(micro)
            if added is not None:
                loss = loss + (self._normalised(added, micro) if added.dim() else added)
            self._window.add(method.key, *method.sums(micro))
        self._window.add("entropy", metrics.entropy_sums(micro.entropy, micro.advantages, micro.mask))
        if self.observers:
            marks = {word: mark for method in self.methods for word, mark in method.marks(micro).items()}
            for observer in self.observers:
                observer.after_loss(self.state.global_step + 1, micro, marks)
        if self.accelerator.sync_gradients and self._observes:
            self._close_window()
        return loss

    def _normalised(self, added: torch.Tensor, micro: Micro) -> torch.Tensor:
        # `num_items_in_batch` spans the generation batch of all processes; one backward pass has this part of it
        items = micro.inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
        items = items / cast(int, self.args.steps_per_generation)
        length = self.max_completion_length
        return aggregate_token_loss(added, micro.mask, self.loss_type, max_completion_length=length, num_items=items)

    # --- the end of an optimizer step --------------------------------------------------------------------------------

    def _close_window(self) -> None:
        totals = self._window.close(self.accelerator)
        self.log_numbers(metrics.entropy_metrics(totals["entropy"]))
        for method in self.methods:
            if f"{method.key}/selection" in totals:
                self.log_numbers(method.close_selection(totals[f"{method.key}/selection"]))
            self.log_numbers(method.close(totals[method.key]))
        step, entropy = self.state.global_step + 1, totals["entropy"]
        mean = metrics.ratio(entropy["entropy"], entropy["tokens"])
        self.log_numbers(self._controls.step(step, step / max(self.state.max_steps, 1), mean))
        self._controls.apply(self)
        if self._controls.stop:
            self.control.should_training_stop = self.control.should_save = True

    @property
    def _progress(self) -> float:
        return self.state.global_step / max(self.state.max_steps, 1)

    def _next_generator(self, *process: int) -> torch.Generator:
        self._entropy_state.draws += 1
        return seeded(self.args.seed, *process, self._entropy_state.draws)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _finish_checkpoint(self, folder):
        if self._parts and self.args.should_save:
            self._entropy_state.parts |= {part.key: asdict(part.state) for part in self._parts}
            self._entropy_state.save(folder)
        super()._finish_checkpoint(folder)

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self._parts:
            self._entropy_state = restored(checkpoint, self._parts)
            self._controls.apply(self)
