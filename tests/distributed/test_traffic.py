"""What travels for a selection: counts and candidates, never a figure a token."""

import runpy
from pathlib import Path

import pytest
import torch

from trl_entropy.functional.covariance import clip_cov_candidates, covariance_moments, token_covariance
from trl_entropy.functional.selection import selection_count, take_at_random, take_largest
from trl_entropy.step.scope import Everywhere, seeded


SCALING = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "scaling_table.py"))


class CountingAccelerator:
    """Process 0 of several that hold the same tokens; adds up the bytes that it receives."""

    def __init__(self, processes: int):
        self.num_processes, self.process_index, self.received = processes, 0, 0

    def reduce(self, tensor, reduction="sum"):
        self.received += tensor.numel() * tensor.element_size()
        return tensor * self.num_processes

    def gather(self, tensor):
        self.received += tensor.numel() * tensor.element_size() * self.num_processes
        return torch.cat([tensor] * self.num_processes)


def covariance_of(scope, logps, advantages, mask) -> tuple[torch.Tensor, int]:
    moments = scope.sum(covariance_moments(logps, advantages, mask))
    return token_covariance(logps, advantages, mask, moments), int(moments[2])


def take(scope, method: str, covariance, mask, tokens: int, ratio: float) -> torch.Tensor:
    count = selection_count(ratio, tokens)
    if method == "clip_cov":
        return take_at_random(clip_cov_candidates(covariance, mask, 0.1, 9.0), count, scope)
    return take_largest(covariance, mask, count, scope)


@pytest.mark.parametrize("processes", [1, 4, 64])
@pytest.mark.parametrize(("method", "ratio"), [("clip_cov", 0.01), ("kl_cov", 0.01), ("kl_cov", 0.9)])
def test_bytes_are_those_of_the_formula(processes, method, ratio):
    generator = torch.Generator().manual_seed(1)
    logps, advantages = torch.randn(8, 50, generator=generator), torch.randn(8, generator=generator)
    mask = torch.arange(50) < torch.randint(1, 50, (8, 1), generator=generator)
    accelerator = CountingAccelerator(processes)
    scope = Everywhere(accelerator, lambda: seeded(1))
    covariance, tokens = covariance_of(scope, logps, advantages, mask)
    assert tokens == processes * mask.sum()
    take(scope, method, covariance, mask, tokens, ratio)
    expected = SCALING["selection_bytes"](method, tokens, int(mask.sum()), ratio, processes)
    assert accelerator.received == expected
    # growth: a constant a process for Clip-Cov; for KL-Cov never more than a float a token and a count a process
    assert accelerator.received <= 24 + 8 * processes + (4 * tokens if method == "kl_cov" else 0)


@pytest.mark.parametrize("processes", [2, 16, 64, 1024])
@pytest.mark.parametrize("ratio", [2e-4, 2e-3, 0.2])
def test_a_32b_run_spends_less_than_a_hundredth_of_its_gradient_traffic(processes, ratio):
    run = SCALING["Run"](processes, ratio=ratio)
    size = SCALING["selection_bytes"]("kl_cov", run.tokens, run.tokens // processes, ratio, processes)
    assert size < 0.01 * SCALING["gradient_bytes"](run)  # of one update alone, and there are eight a generation


def test_a_rank_without_tokens_and_a_batch_without_tokens_select_nothing():
    accelerator = CountingAccelerator(4)
    none = torch.zeros(2, 3, dtype=torch.bool)
    scope = Everywhere(accelerator, lambda: seeded(1))
    covariance, tokens = covariance_of(scope, torch.randn(2, 3), torch.randn(2), none)
    assert tokens == 0
    for method in ("clip_cov", "kl_cov"):
        assert not take(scope, method, covariance, none, tokens, 0.1).any()
