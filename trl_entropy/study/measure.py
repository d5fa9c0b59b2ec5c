"""What is measured of a policy: 16 samples of each problem, graded once, every figure from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from ..evaluate.estimators import distinct_correct, maj_at_k
from ..evaluate.sampling import Completion, Sampling
from ..evaluate.transformers_engine import (
    EntropyRecorder,
    end_tokens,
    evaluating,
    generating_by,
    generation_config,
    keep_random_state,
)
from ..functional import nucleus_mask
from ..tasks import Task
from .outcome import SAMPLES, VOTES, encode


SEED = 1234  # of every evaluation: what changes between two is the policy
TOP_P = 0.8  # of the nucleus


@dataclass(frozen=True)
class Sampled:
    """16 completions of each prompt; and `(completions,)` arrays, means over a completion's tokens: the probability
    outside the nucleus, and the number of words in it."""

    groups: list[list[Completion]]
    outside: np.ndarray
    nucleus: np.ndarray


class _Recorder(EntropyRecorder):
    """Records each token's nucleus beside its entropy."""

    def __init__(self) -> None:
        super().__init__()
        self._nuclei: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self._nuclei.append(nucleus(scores))
        return super().__call__(input_ids, scores)

    def nuclei(self) -> np.ndarray:
        """(2, B, T): the mass outside and the number of words inside."""
        return torch.stack(self._nuclei, dim=-1).cpu().numpy()


def nucleus(logits: torch.Tensor) -> torch.Tensor:
    """The probability outside the top-p nucleus of p = 0.8, at most 0.2, and the number of words in it.

    Args:
        logits: (B, V).

    Returns:
        (2, B), float32.
    """
    inside = nucleus_mask(logits, TOP_P)
    outside = logits.float().softmax(-1).masked_fill(inside, 0.0).sum(-1)
    return torch.stack([outside, inside.sum(-1).float()])


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    prompts: Sequence[str],
    chunk: int = 256,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """An evaluation's row of the run's result, without `batch` and `split`.

    The random state and the model's mode are left as they were, so that an evaluation in the middle of a run does not
    change the run.

    Args:
        prompts: (P,) what to ask.
        chunk: prompts sampled together, 16 completions each.
        temperature: of the samples; entropy and nucleus are always those of the policy at 1, on these samples.
    """
    with keep_random_state(model.device), evaluating(model), torch.no_grad():
        torch.manual_seed(SEED)
        chunks = (prompts[start : start + chunk] for start in range(0, len(prompts), chunk))
        parts = [_sample(model, tokenizer, part, task.longest, temperature) for part in chunks]
    groups = [group for part in parts for group in part.groups]
    lengths = [completion.tokens for group in groups for completion in group]
    nuclei = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("outside", "nucleus")}
    means = {name: _rounded(np.average(values, weights=lengths)) for name, values in nuclei.items()}
    return {**graded(task, prompts, groups), **means}


def graded(task: Task, prompts: Sequence[str], samples: Sequence[Sequence[Completion]]) -> dict[str, Any]:
    """Counts of each problem, a digit each, and means over all samples; the entropy is a mean over tokens.

    `unreadable` is the share of samples that are no answer at all, of a task that can tell.
    """
    texts = [[" ".join(completion.text.split()) for completion in group] for group in samples]
    right = [[task.solved(prompt, text) for text in group] for prompt, group in zip(prompts, texts, strict=True)]
    answers = [[text or None for text in group] for group in texts]
    pairs = list(zip(answers, right, strict=True))
    every = [completion for group in samples for completion in group]
    lengths = np.array([completion.tokens for completion in every])
    unreadable = {}
    if task.readable is not None:
        unreadable["unreadable"] = _rounded(np.mean([not task.readable(text) for group in texts for text in group]))
    return {
        "correct": encode(np.array([sum(group) for group in right])),
        "distinct": encode(np.array([distinct_correct(*pair) for pair in pairs])),
        "vote": encode(np.array([round(VOTES * maj_at_k(*pair, k=SAMPLES)) for pair in pairs])),
        "entropy": _rounded(np.average([completion.entropy or 0.0 for completion in every], weights=lengths)),
        "tokens": _rounded(lengths.mean()),
        "truncated": _rounded(np.mean([completion.truncated for completion in every])),
        **unreadable,
    }


def _rounded(value: Any) -> float:
    return float(f"{value:.6g}")


def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    longest: int,
    temperature: float,
) -> Sampled:
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left").to(model.device)
    ends, recorder = end_tokens(model, tokenizer), _Recorder()
    pad: Any = tokenizer.pad_token_id
    config = generation_config(Sampling(SAMPLES, temperature=temperature, max_new_tokens=longest), ends, pad)
    config.num_return_sequences = SAMPLES
    with generating_by(model, config):
        output = model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=encoded.input_ids,
            attention_mask=encoded.attention_mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([recorder]),
        )
    tokens = output[:, encoded.input_ids.shape[1] :].cpu()
    ended = torch.isin(tokens, torch.tensor(ends)).int().cumsum(1)
    # Every token up to the first end, that one included
    mask = (ended - torch.isin(tokens, torch.tensor(ends)).int() == 0).float()
    lengths = mask.sum(1)
    entropies = (recorder.entropies()[:, : tokens.shape[1]] * mask).sum(1) / lengths
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    rows = zip(texts, lengths.tolist(), (ended[:, -1] == 0).tolist(), entropies.tolist(), strict=True)
    every = [Completion(text, int(length), truncated, entropy) for text, length, truncated, entropy in rows]
    groups = [every[start : start + SAMPLES] for start in range(0, len(every), SAMPLES)]
    nuclei = (recorder.nuclei()[..., : tokens.shape[1]] * mask.numpy()).sum(-1) / lengths.numpy()
    return Sampled(groups, *nuclei)
