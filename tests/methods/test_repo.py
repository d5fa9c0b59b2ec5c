"""REPO (arXiv 2603.11682): by hand, and the gradient against the reference."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods.repo import Repo


def test_by_hand(arguments):
    """zeta 0.2: surprisal 1 adds 0.2 |A|, twice that with a gain of 2; a right and a wrong token gain alike."""
    method = Repo()
    method.attach(EntropyGRPOConfig(**arguments(repo_zeta=0.2)))
    logps = torch.tensor([[-1.0, -1.0, -0.5, -9.0, math.nan]], requires_grad=True)
    advantages = torch.tensor([[2.0, -2.0, 1.0, 0.0, 1.0]])
    micro = SimpleNamespace(logps=logps, mask=torch.tensor([[True, True, True, True, False]]), advantages=advantages)
    found = method.shape(advantages, micro)
    torch.testing.assert_close(found, torch.tensor([[2.4, -1.6, 1.1, 0.0, 1.0]]))
    assert not found.requires_grad
    sums, _ = method.sums(micro)
    logged = method.close({name: float(value) for name, value in sums.items()})
    assert logged == {"repo/bonus": pytest.approx((0.4 + 0.4 + 0.1) / 4)}
    method.gain = 2.0
    torch.testing.assert_close(method.shape(advantages, micro), torch.tensor([[2.8, -1.2, 1.2, 0.0, 1.0]]))


def test_the_gradient_is_the_references(arguments, dataset):
    def shape(rows):
        return [[t.advantage - 0.2 * abs(t.advantage) * t.logp for t in row] for row in rows]

    assert_gradient(arguments, dataset, shape, repo_zeta=0.2)
