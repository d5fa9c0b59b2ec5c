"""The benchmark compares heads that compute the same: the published ways to nucleus entropy against ours."""

import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture
def contestants(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    sys.modules.pop("bench_contestants", None)
    import bench_contestants

    return bench_contestants


@pytest.fixture
def problem(contestants):
    return contestants.Problem.make(tokens=12, width=8, vocab=12_000, dtype=torch.float32, device="cpu")


def test_all_heads_agree(contestants, problem):
    expected = contestants.full_logits(problem)
    for head in contestants.HEADS.values():
        for a, b in zip(head(problem)[:2], expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_sorting_gives_our_inclusive_nucleus(contestants, problem):
    theirs, ours = contestants.textbook(problem)[2], contestants.fused(problem)[2]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    ours, theirs = (torch.autograd.grad(x.sum(), problem.hidden)[0] for x in (ours, theirs))
    # differentiating through q = p / sum p gives the same gradient as the formula: the set is constant in both
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_published_way_gives_our_exclusive_nucleus(contestants, problem):
    theirs = contestants.published(problem)[2]
    *_, ours, size = contestants.fused_log_probs(
        problem.hidden,
        problem.weight,
        None,
        problem.targets,
        top_p=problem.top_p,
        nucleus="exclusive",
        return_nucleus_size=True,
    )
    within = size < contestants.PUBLISHED_TOP_K
    assert (ours[within] > 0).any()
    torch.testing.assert_close(ours[within], theirs[within], rtol=1e-3, atol=1e-3)
