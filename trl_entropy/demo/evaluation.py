"""What the demo measures of a policy: samples drawn once, graded once, every figure from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from trl_entropy.evaluate import bootstrap_interval, distinct_correct, maj_at_k, pass_at_k
from trl_entropy.tasks import Puzzle, is_correct


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
    """Draw 16 completions of each puzzle and compute every figure of the demo from them.

    The global random state and the model's mode are left as they were, so that an evaluation in the middle of a run
    does not change the run.
    """
    was_training = model.training
    model.eval()
    texts: list[list[str]] = []
    entropies: list[torch.Tensor] = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(puzzles), chunk):
            completions, entropy = _sample(model, tokenizer, [p.prompt for p in puzzles[start : start + chunk]])
            texts += completions
            entropies.append(entropy)
    model.train(was_training)

    correct = [
        [is_correct(text, puzzle.numbers, puzzle.target) for text in group]
        for puzzle, group in zip(puzzles, texts, strict=True)
    ]
    graded = list(zip(texts, correct, strict=True))
    count = np.array([sum(flags) for flags in correct])
    return PolicyFigures(
        pass_at={k: np.asarray(pass_at_k(SAMPLES, count, k)) for k in KS},
        maj=np.array([maj_at_k(group, flags, SAMPLES) for group, flags in graded]),
        distinct=np.array([distinct_correct(group, flags) for group, flags in graded], dtype=float),
        entropy=torch.cat(entropies).numpy().astype(float),
    )


def _sample(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]
) -> tuple[list[list[str]], torch.Tensor]:
    """16 completions of each prompt, and the mean entropy (prompts,) of their tokens."""
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
    entropy = (-(logps.exp() * logps).sum(-1) * mask).view(len(prompts), -1)
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    groups = [texts[start : start + SAMPLES] for start in range(0, len(texts), SAMPLES)]
    return groups, entropy.sum(1) / mask.view(len(prompts), -1).sum(1)
