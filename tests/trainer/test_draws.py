"""Clip-Cov's draws: the n-th draw of a run is that of (seed, n), in micro-batch scope of (seed, process, n)."""

import pytest
import torch

from tests.trainer.rig import Steps, as_process, fixed_batch, make_trainer, select, step_gradient, with_old_logps
from trl_entropy.step.scope import seeded


SEED = 7  # of `arguments`
ALL = {"clip_cov_ratio": 0.3, "clip_cov_low": -1e9, "clip_cov_high": 1e9}  # every token is a candidate


def drawn(mask: torch.Tensor, *numbers: int) -> list[int]:
    """The tokens of a draw among all counted ones, as ordinals."""
    tokens = int(mask.sum())
    order = torch.randperm(tokens, generator=seeded(SEED, *numbers))
    return sorted(order[: int(0.3 * tokens)].tolist())


def ordinals(selected: torch.Tensor, mask: torch.Tensor) -> list[int]:
    return selected[mask.bool()].nonzero().flatten().tolist()


def test_in_batch_scope_every_generation_has_a_draw_of_its_own(arguments, dataset):
    trainer = make_trainer(arguments(**ALL), dataset)
    batch = with_old_logps(trainer, fixed_batch())
    mask = batch["completion_mask"]
    found = [ordinals(select(trainer, batch)["clip_cov/selected"], mask) for _ in range(3)]
    assert found == [drawn(mask, n) for n in (1, 2, 3)]
    assert found[0] != found[1] != found[2]


@pytest.mark.parametrize("rank", [0, 1])
def test_in_micro_batch_scope_every_micro_batch_of_every_process_has(rank, arguments, dataset):
    trainer = make_trainer(arguments(**ALL, entropy_scope="micro_batch", epsilon=0.99, epsilon_high=1e9), dataset)
    batch = with_old_logps(trainer, fixed_batch(), shift=0.0)
    steps = Steps(trainer)
    with as_process(rank):
        for _ in range(2):
            step_gradient(trainer, batch, 2)
    found = [ordinals(micro.chosen["clip_cov"]["selected"], micro.mask) for micro in steps.micros]
    assert found == [drawn(micro.mask, rank, n) for n, micro in enumerate(steps.micros, 1)]


def test_processes_and_draws_have_streams_of_their_own():
    firsts = [torch.rand(3, generator=seeded(*key)).tolist() for key in ((7, 1), (7, 2), (8, 1), (7, 0, 1), (7, 1, 1))]
    assert len({tuple(first) for first in firsts}) == 5
    assert torch.rand(3, generator=seeded(7, 1)).tolist() == firsts[0]
