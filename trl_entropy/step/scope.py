"""From one process to all: sums and selections over a whole batch, wherever its parts lie.

A selection over processes is one selection: every process knows the global counts and draws from the same seed, so the
chosen tokens are those that a single process holding the whole batch would choose. Only counts and, for KL-Cov, the
`count` largest covariances of each process travel, never logits or log-probabilities.
"""

from typing import cast

import torch
from accelerate import Accelerator

from ..functional import clip_cov_candidates, covariance_moments, token_covariance
from ..functional.covariance import draw, mark, selection_count, top_ordinals


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose stream is fixed by these whole numbers, each of which matters."""
    seed = 0
    for number in numbers:
        # splitmix64's finalizer, so that neighbouring seeds and counters give unrelated streams
        seed = (seed ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        seed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        seed = (seed ^ seed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        seed ^= seed >> 31
    return torch.Generator().manual_seed(seed)


def global_covariance(
    accelerator: Accelerator, logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, int]:
    """Token covariance (B, T) about the means of all processes, and the number of tokens of all processes."""
    moments = cast(torch.Tensor, accelerator.reduce(covariance_moments(logps, advantages, mask), reduction="sum"))
    return token_covariance(logps, advantages, mask, moments), int(moments[2])


def global_clip_cov(
    accelerator: Accelerator,
    covariance: torch.Tensor,
    mask: torch.Tensor,
    tokens: int,
    ratio: float,
    low: float,
    high: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """[`select_clip_cov`] over all processes: one uniform draw, each process marking what fell to it. (B, T), bool.

    Communication: one whole number a process.
    """
    candidates = clip_cov_candidates(covariance, mask, low, high)
    counts = cast(torch.Tensor, accelerator.gather(candidates.sum().reshape(1))).tolist()
    start = sum(counts[: accelerator.process_index])
    ordinals = draw(sum(counts), selection_count(ratio, tokens), generator)
    return mark(candidates, _own(ordinals, start, counts[accelerator.process_index]))


def global_kl_cov(
    accelerator: Accelerator, covariance: torch.Tensor, mask: torch.Tensor, tokens: int, ratio: float
) -> torch.Tensor:
    """[`select_kl_cov`] over all processes: the top of everybody's tops. (B, T), bool.

    Communication: a whole number a process, and `min(max(1, floor(ratio * tokens)), tokens of the fullest process)`
    floats a process.
    """
    count = selection_count(ratio, tokens)
    mask = mask.bool()
    values = covariance[mask]
    local = top_ordinals(values, count)
    lengths = cast(torch.Tensor, accelerator.gather(torch.tensor([len(local)], device=values.device)))
    width = int(lengths.max())
    if width == 0:
        return torch.zeros_like(mask)
    tops = values.new_full((width,), -torch.inf)
    tops[: len(local)] = values[local]
    winners = top_ordinals(cast(torch.Tensor, accelerator.gather(tops)), count)
    return mark(mask, local[_own(winners, accelerator.process_index * width, len(local))])


def _own(ordinals: torch.Tensor, start: int, length: int) -> torch.Tensor:
    return ordinals[(ordinals >= start) & (ordinals < start + length)] - start
