"""Clip-Cov (arXiv 2505.22617): the band, how many are drawn, and what they lose, by hand."""

from types import SimpleNamespace

import pytest
import torch

from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.clip_cov import ClipCov


# Mean -2 and mean 0, so that C = (logp + 2) A: 1, 3, -3, -1 in the first row, -1, -3, 3, 1 in the second
LOGPS = torch.tensor([[-1.0, 1.0, -5.0, -3.0], [-1.0, 1.0, -5.0, -3.0]])
ADVANTAGES = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
ALL = torch.ones(2, 4, dtype=torch.bool)


def clip_cov(arguments, **given) -> ClipCov:
    return ClipCov().attach(EntropyGRPOConfig(**arguments(**{"clip_cov_ratio": 0.99, **given})))


def selected(method: ClipCov) -> list[list[int]]:
    return method.select(View(ADVANTAGES, ALL, ALL, {"logps": LOGPS}), Scope())["selected"].nonzero().tolist()


@pytest.mark.parametrize(
    ("low", "high", "places"),
    [
        (0.5, 9.0, [[0, 0], [0, 1], [1, 2], [1, 3]]),
        (0.5, 2.0, [[0, 0], [1, 3]]),
        (1.0, 3.0, []),  # both ends are open
        (2.0, 4.0, [[0, 1], [1, 2]]),
        (-2.0, 0.0, [[0, 3], [1, 0]]),
    ],
)
def test_the_band(low, high, places, arguments):
    assert selected(clip_cov(arguments, clip_cov_low=low, clip_cov_high=high)) == places


@pytest.mark.parametrize(("ratio", "count"), [(0.01, 1), (0.25, 2), (0.49, 3), (0.9, 4)])
def test_a_share_of_all_tokens_and_not_of_the_band(ratio, count, arguments):
    found = selected(clip_cov(arguments, clip_cov_ratio=ratio, clip_cov_low=0.5, clip_cov_high=9.0))
    assert len(found) == count


def test_what_is_clipped_is_no_candidate_but_counts(arguments):
    method = clip_cov(arguments, clip_cov_ratio=0.49, clip_cov_low=0.5, clip_cov_high=9.0)
    clipped = torch.zeros_like(ALL)
    clipped[0] = True
    found = method.select(View(ADVANTAGES, ALL, ALL, {"logps": LOGPS}, clipped), Scope())["selected"]
    assert found.nonzero().tolist() == [[1, 2], [1, 3]]  # three of eight are asked for, two are left


def test_the_chosen_lose_their_advantage(arguments):
    chosen = torch.tensor([[True, False, False, False], [False, False, True, True]])
    micro = SimpleNamespace(chosen={"clip_cov": {"selected": chosen}})
    assert clip_cov(arguments).shape(ADVANTAGES, micro).tolist() == [[0.0, 1.0, 1.0, 1.0], [-1.0, -1.0, 0.0, 0.0]]
