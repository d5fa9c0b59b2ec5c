"""Evaluate on held-out problems while training, without the run noticing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import DistributedType, gather_object
from transformers import PreTrainedModel, TrainerCallback
from trl.models import unwrap_model_for_generation

from ..durable import append_lines
from ..evaluate.benchmarks import Grader
from ..evaluate.problems import Problem
from ..evaluate.run import check_ks, draw
from ..evaluate.sampling import Sampling
from ..evaluate.scores import means, problem_figures
from ..evaluate.transformers_engine import TransformersEngine
from ..evaluate.verdicts import grade
from ..rewards import MathReward


LAW_FILE = "entropy_reward.jsonl"
_LOGGED = ("distinct_correct", "distinct", "tokens", "truncated", "entropy")


class EvaluationCallback(TrainerCallback):
    """Every so many steps and after the last, draw n completions of held-out problems, and log what `eval` measures.

    Logged beside the training metrics: `heldout/pass_at_1`, `heldout/pass_at_{k}`, `heldout/maj_at_{k}`,
    `heldout/distinct_correct`, `heldout/distinct`, `heldout/tokens`, `heldout/truncated` and `heldout/entropy` (nats,
    of the policy's own distributions at temperature 1, over all sampled tokens), each as the latest evaluation before
    the log found it. The points of the law `R = b - a exp(H)` go to
    `entropy_reward.jsonl` in the output directory: `{step, entropy, reward, source}` with `reward` = pass@1.

    The global random states, the model's mode and its gradient checkpointing are restored: a run has the same weights
    with and without this callback. Every evaluation draws with the same seed, so that changes are the policy's. It
    generates with transformers, also in a run that uses vLLM. The processes share the problems between them.

    Args:
        trainer: a TRL `GRPOTrainer`.
        problems: the held-out problems, `trl_entropy.evaluate.problems.load_problems`.
        every: optimizer steps between evaluations, >= 1.
        n: samples a problem.
        ks: the k of pass@k and maj@k, each in 1..n; by default 1 and n.
        temperature: sampling temperature. At 1, the training temperature, reward and entropy are one policy's.
        max_new_tokens: longest completion; by default the run's `max_completion_length`.
        grader: `"math"` or `"countdown"`.
        batch_size: rows generated together on each process.
        at_start: also evaluate the initial policy, before the first step.
        seed: seed of the samples.
        chat: whether problems are asked as chats: `"auto"` where the tokenizer has a template, `"always"`, `"never"`.
        system_prompt: a system message before each problem; needs a tokenizer with a chat template.

    Raises:
        ValueError: for an empty list of problems or a number out of range.

    Example:
        ```python
        problems = load_problems(benchmark_named("math500"), limit=100)
        trainer.add_callback(EvaluationCallback(trainer, problems, every=20, n=8))
        ```
    """

    def __init__(
        self,
        trainer: Any,
        problems: Sequence[Problem],
        every: int = 50,
        n: int = 8,
        ks: Sequence[int] | None = None,
        temperature: float = 1.0,
        max_new_tokens: int | None = None,
        grader: Grader = "math",
        batch_size: int = 64,
        at_start: bool = True,
        seed: int = 0,
        chat: str = "auto",
        system_prompt: str | None = None,
    ):
        if not problems:
            raise ValueError("EvaluationCallback needs at least one problem.")
        if every < 1 or batch_size < 1:
            raise ValueError(f"every and batch_size must be at least 1, got {every} and {batch_size}.")
        self.ks = sorted(set(ks) if ks is not None else {1, n})
        check_ks(self.ks, n)
        length = trainer.args.max_completion_length if max_new_tokens is None else max_new_tokens
        self.sampling = Sampling(n, temperature, max_new_tokens=length, seed=seed)
        self.trainer, self.problems, self.every = trainer, list(problems), every
        self.grader: Grader = grader
        self.batch_size, self.at_start = batch_size, at_start
        self.chat, self.system_prompt = chat, system_prompt
        self.reward = MathReward()

    def on_train_begin(self, args, state, control, **kwargs):
        """Evaluate the initial policy."""
        if state.global_step == 0:
            if state.is_world_process_zero:
                (Path(str(args.output_dir)) / LAW_FILE).unlink(missing_ok=True)
            if self.at_start:
                self._evaluate(args, state)

    def on_step_end(self, args, state, control, **kwargs):
        """Evaluate every so many steps, and after the last."""
        last = state.global_step == state.max_steps
        if last or state.global_step % self.every == 0:
            self._evaluate(args, state)
            control.should_log |= last  # no later step's log finds it

    def on_train_end(self, args, state, control, **kwargs):
        """Stop the grading workers."""
        self.reward.pool.close()

    def _evaluate(self, args, state) -> None:
        found = means(self._figures())
        score = found[f"avg@{self.sampling.n}"]
        logged = {"pass_at_1": score} | {
            name.replace("@", "_at_"): value
            for name, value in found.items()
            if name.startswith(("pass@", "maj@")) or name in _LOGGED
        }
        for name, value in logged.items():
            # TRL's next log shows the mean of each list and empties it: one value, that of the latest evaluation
            self.trainer._metrics["train"][f"heldout/{name}"] = [value]
        if state.is_world_process_zero:
            row = {"step": state.global_step, "entropy": found["entropy"], "reward": score, "source": "heldout"}
            append_lines(Path(str(args.output_dir)) / LAW_FILE, [json.dumps(row)])

    def _figures(self) -> dict[str, np.ndarray]:
        accelerator = self.trainer.accelerator
        world, rank = accelerator.num_processes, accelerator.process_index
        # Every process draws equally many batches, or sharded models would wait for each other: the last shares are
        # filled up with problems that another process has too, which are then counted once.
        share = -(-len(self.problems) // world)
        mine = [(rank * share + i) % len(self.problems) for i in range(share)]
        problems = [self.problems[i] for i in mine]
        with self._whole_model() as model:
            engine = TransformersEngine(model, self._tokenizer(), self.chat, self.system_prompt)
            completions = draw(engine, problems, self.sampling, self.batch_size)
        grades = grade(problems, [[c.text for c in group] for group in completions], self.grader, self.reward)
        rows = list(zip(mine, grades, completions, strict=True))
        found = {i: (grade_, completion) for i, grade_, completion in (gather_object(rows) if world > 1 else rows)}
        ordered = [found[i] for i in range(len(self.problems))]
        return problem_figures([g for g, _ in ordered], [c for _, c in ordered], self.ks)

    def _tokenizer(self) -> Any:
        processor = self.trainer.processing_class
        return getattr(processor, "tokenizer", processor)  # a vision model has a processor around it

    @contextlib.contextmanager
    def _whole_model(self) -> Iterator[PreTrainedModel]:
        """The model ready to generate, as TRL's own sampling sees it under DDP, DeepSpeed and FSDP."""
        trainer = self.trainer
        with contextlib.ExitStack() as stack:
            model = stack.enter_context(
                unwrap_model_for_generation(
                    trainer.model_wrapped,
                    trainer.accelerator,
                    gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
                    gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
                )
            )
            if trainer.accelerator.distributed_type == DistributedType.FSDP:
                from torch.distributed.fsdp import FullyShardedDataParallel

                if isinstance(trainer.model_wrapped, FullyShardedDataParallel):
                    stack.enter_context(
                        FullyShardedDataParallel.summon_full_params(trainer.model_wrapped, recurse=False)
                    )
            yield model  # type: ignore[misc]
