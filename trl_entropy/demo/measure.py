"""What the demo measures of a policy: samples drawn once, graded once, every figure from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from trl_entropy.evaluate import bootstrap_interval
from trl_entropy.evaluate.problems import puzzle_problem
from trl_entropy.evaluate.sampling import Completion
from trl_entropy.evaluate.scores import problem_figures
from trl_entropy.evaluate.verdicts import grade
from trl_entropy.tasks import Puzzle


MAX_COMPLETION_LENGTH = 11
KS = (1, 2, 4, 8, 16)
SAMPLES = max(KS)


@dataclass(frozen=True)
class PolicyFigures:
    """Per-puzzle figures of one policy, each of shape (puzzles,), from 16 samples of each puzzle at temperature 1.

    Attributes:
        pass_at: k -> unbiased pass@k, for k = 1, 2, 4, 8, 16.
        maj: maj@16, the vote being over whole completions.
        distinct: distinct correct completions among the 16.
        entropy: mean entropy in nats a token of the puzzle's sampled tokens, the end token included.
    """

    pass_at: dict[int, np.ndarray]
    maj: np.ndarray
    distinct: np.ndarray
    entropy: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """Every figure under its name: `pass@1`, ..., `maj@16`, `distinct@16`, `entropy`."""
        named = {f"pass@{k}": values for k, values in self.pass_at.items()}
        return {**named, f"maj@{SAMPLES}": self.maj, f"distinct@{SAMPLES}": self.distinct, "entropy": self.entropy}

    def means(self) -> dict[str, float]:
        """The mean of every figure over puzzles."""
        return {name: float(values.mean()) for name, values in self.columns().items()}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % bootstrap interval of every mean, over puzzles."""
        return {name: bootstrap_interval(values) for name, values in self.columns().items()}


def evaluate_policy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    puzzles: Sequence[Puzzle],
    seed: int,
    chunk: int = 256,
) -> PolicyFigures:
    """Draw 16 completions of each puzzle; every figure is that of `trl-entropy eval --benchmark countdown` on them.

    The global random state and the model's mode are left as they were, so that an evaluation in the middle of a run
    does not change the run.
    """
    was_training = model.training
    model.eval()
    samples: list[list[Completion]] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(puzzles), chunk):
            samples += _sample(model, tokenizer, [p.prompt for p in puzzles[start : start + chunk]])
    model.train(was_training)

    grades = grade([puzzle_problem(p) for p in puzzles], [[c.text for c in group] for group in samples], "countdown")
    figures = problem_figures(grades, samples, KS, votes=[SAMPLES])
    return PolicyFigures(
        pass_at={k: figures[f"pass@{k}"] for k in KS},
        maj=figures[f"maj@{SAMPLES}"],
        distinct=figures["distinct_correct"],
        entropy=figures["entropy"],
    )


def _sample(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[list[Completion]]:
    """16 completions of each prompt."""
    encoded = tokenizer(prompts, return_tensors="pt", padding=True)
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=MAX_COMPLETION_LENGTH,
        num_return_sequences=SAMPLES,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        output_logits=True,
        return_dict_in_generate=True,
    )
    output = model.generate(**encoded, generation_config=config)  # pyright: ignore[reportCallIssue]
    tokens = output.sequences[:, encoded.input_ids.shape[1] :]
    ended = (tokens == tokenizer.eos_token_id).cumsum(1)
    mask = (ended - (tokens == tokenizer.eos_token_id).int() == 0).float()
    logps = torch.stack(output.logits, dim=1).float().log_softmax(-1)
    lengths = mask.sum(1)
    entropies = (-(logps.exp() * logps).sum(-1) * mask).sum(1) / lengths
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    rows = zip(texts, lengths.tolist(), (ended[:, -1] == 0).tolist(), entropies.tolist(), strict=True)
    every = [Completion(text, int(length), truncated, entropy) for text, length, truncated, entropy in rows]
    return [every[start : start + SAMPLES] for start in range(0, len(every), SAMPLES)]
