"""KL-Cov (arXiv 2505.22617): choice, penalty and clip by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.kl_cov import KLCov


def kl_cov(arguments, **given) -> KLCov:
    return KLCov().attach(EntropyGRPOConfig(**arguments(**{"kl_cov_ratio": 0.4, **given})))


@pytest.mark.parametrize(
    ("ratio", "places"), [(0.1, [[0, 1]]), (0.3, [[0, 1], [1, 0]]), (0.5, [[0, 1], [1, 0], [1, 1]])]
)
def test_the_largest_are_chosen(ratio, places, arguments):
    """Seven tokens of mean -2, advantages of mean 0: C = (logp + 2) A; the eighth does not count."""
    logps = torch.tensor([[-2.0, 4.0, -4.0, -3.0], [-6.0, -3.0, 0.0, 99.0]])
    advantages = torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.5, -1.5, -1.0, 99.0]])
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    found = kl_cov(arguments, kl_cov_ratio=ratio).select(View(advantages, mask, mask, {"logps": logps}), Scope())
    assert found["selected"].nonzero().tolist() == places
    expected = torch.tensor([[0.0, 6.0, -2.0, -1.0], [6.0, 1.5, -2.0, 0.0]])
    torch.testing.assert_close(found["covariance"], expected)


def micro_batch(moved: bool) -> SimpleNamespace:
    chosen = {"selected": torch.tensor([[True, True, False]]), "covariance": torch.zeros(1, 3)}
    logps = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    return SimpleNamespace(
        moved=moved, chosen={"kl_cov": chosen}, logps=logps, old_logps=torch.tensor([[-1.5, -1.75, 0.0]])
    )


def test_the_penalty_by_hand(arguments):
    """coef 0.8, a gain of 0.5: 0.4 |move|, of slope 0.4 sign(move)."""
    method, micro = kl_cov(arguments, kl_cov_coef=0.8), micro_batch(moved=True)
    method.gain = 0.5
    loss = method.loss(micro)
    torch.testing.assert_close(loss, torch.tensor([[0.2, 0.1, 0.0]]))
    loss.sum().backward()
    torch.testing.assert_close(micro.logps.grad, torch.tensor([[0.4, -0.4, 0.0]]))


def test_it_waits_until_the_policy_has_moved(arguments):
    method = kl_cov(arguments)
    assert method.loss(micro_batch(moved=False)) is None
    assert set(method.marks(micro_batch(moved=False))) == {"covariance"}
    assert set(method.marks(micro_batch(moved=True))) == {"covariance", "penalised"}


def test_the_clip_is_open_unless_it_is_kept(arguments):
    assert kl_cov(arguments).clip(0.2, 0.3) == (math.inf, math.inf)
    assert kl_cov(arguments, kl_cov_clip=True).clip(0.2, 0.3) == (0.2, 0.3)
