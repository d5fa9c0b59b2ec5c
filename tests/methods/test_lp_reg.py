"""Lp-Reg (arXiv 2510.03222): divergence and selection by hand, and the gradient against the reference."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests import oracle
from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.lp_reg import LpReg, low_variance_divergence


def test_the_divergence_by_hand():
    """d = ln 2: 2 - ln 2 - 1 = 0.3069, slope 1 - 2; d = -ln 2: 1/2 + ln 2 - 1 = 0.1931, slope 1 - 1/2; d = 0: 0."""
    logps = torch.tensor([math.log(0.25), math.log(0.5), -1.0], requires_grad=True)
    target = torch.tensor([math.log(0.5), math.log(0.25), -1.0])
    found = low_variance_divergence(logps, target)
    torch.testing.assert_close(found, torch.tensor([0.306853, 0.193147, 0.0]), atol=1e-6, rtol=0)
    found.sum().backward()
    torch.testing.assert_close(logps.grad, torch.tensor([-1.0, 0.5, 0.0]))


def test_the_selection_by_hand(arguments):
    """Largest probability 0.5, kappa 0.1: a word below 0.05 is noise. P(S) = 0.8. Half of four tokens with A < 0."""
    method = LpReg()
    method.attach(EntropyGRPOConfig(**arguments(lp_reg_coef=1.0, lp_reg_share=0.5, lp_reg_kappa=0.1)))
    probabilities = torch.tensor([[0.4, 0.06, 0.3, 0.01, 0.001], [0.06, 0.06, 0.06, 0.06, 0.06]])
    mask = torch.tensor([[True, True, True, True, False], [True] * 5])
    scored = {
        "logps": probabilities.log(),
        "top_probability": torch.full((2, 5), 0.5),
        "min_p_log_mass": torch.full((2, 5), math.log(0.8)),
    }
    view = View(torch.tensor([[-1.0], [1.0]]).expand(2, 5), mask, mask, scored)
    found = method.select(view, Scope())
    assert found["looked_at"].nonzero().tolist() == [[0, 1], [0, 3]]
    assert found["selected"].nonzero().tolist() == [[0, 1]]  # the other is noise
    torch.testing.assert_close(found["target"].exp(), probabilities / 0.8)
    sums, _ = method.selection_sums(view, found)
    logged = method.close_selection({name: float(value) for name, value in sums.items()})
    assert logged == {"lp_reg/selected_share": pytest.approx(2 / 9)}


def test_a_word_on_the_floor_belongs_to_the_set(arguments):
    method = LpReg()
    method.attach(EntropyGRPOConfig(**arguments(lp_reg_coef=1.0, lp_reg_share=1.0, lp_reg_kappa=0.1)))
    mask = torch.ones(1, 1, dtype=torch.bool)
    top = torch.tensor([[0.7]])
    scored = {"logps": (0.1 * top).log(), "top_probability": top, "min_p_log_mass": torch.zeros(1, 1)}
    assert method.select(View(-torch.ones(1, 1), mask, mask, scored), Scope())["selected"].all()


def test_the_loss_by_hand(arguments):
    """Only up: d = ln 2 on the first, a second above its target, a third that is not chosen. coef 2, gain 3."""
    method = LpReg().attach(EntropyGRPOConfig(**arguments(lp_reg_coef=2.0)))
    method.gain = 3.0
    logps = torch.tensor([[0.25, 0.5, 0.25, math.nan]]).log().requires_grad_()
    chosen = {
        "selected": torch.tensor([[True, True, False, False]]),
        "target": torch.tensor([[0.5, 0.25, 0.5, math.nan]]).log(),
    }
    micro = SimpleNamespace(logps=logps, chosen={"lp_reg": chosen}, mask=torch.tensor([[True, True, True, False]]))
    loss = method.loss(micro)
    torch.testing.assert_close(loss, torch.tensor([[6 * (2 - math.log(2) - 1), 0.0, 0.0, 0.0]]))
    loss.sum().backward()
    torch.testing.assert_close(logps.grad, torch.tensor([[-6.0, 0.0, 0.0, 0.0]]))
    sums, _ = method.sums(micro)
    logged = method.close({name: float(value) for name, value in sums.items()})
    assert logged == {"lp_reg/held_share": pytest.approx(1 / 3)}
    assert method.marks(micro)["held"].tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("scope", ["batch", "micro_batch"])
def test_the_gradient_is_the_references(scope, arguments, dataset):
    """The 90 % least probable tokens of negative advantage; pulled to p / P(S) where they lie in S."""
    share, kappa, coef = 0.9, 0.02, 2.0

    def added(rows, logits):
        places = [(b, t) for b, row in enumerate(rows) for t, x in enumerate(row) if x.advantage < 0]
        count = max(1, math.floor(share * len(places))) if places else 0
        places.sort(key=lambda p: rows[p[0]][p[1]].logp)
        loss, held = torch.zeros((), dtype=torch.float64), 0
        for b, t in places[:count]:
            p = [float(x) for x in oracle.distribution(logits[b][t].detach())]
            word = rows[b][t].word
            if p[word] < kappa * max(p):
                continue
            target = math.log(p[word] / sum(x for x in p if x >= kappa * max(p)))
            gap = target - oracle.log_probability(logits[b][t], word)
            loss, held = loss + coef * (torch.exp(gap) - gap - 1), held + (gap.item() > 1e-9)
        assert held or scope == "micro_batch"
        return loss

    given = {"lp_reg_coef": coef, "lp_reg_share": share, "lp_reg_kappa": kappa}
    assert_gradient(arguments, dataset, added=added, **given, entropy_scope=scope)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lp_reg_coef": -1.0}, "lp_reg_coef"),
        ({"lp_reg_coef": 1.0, "lp_reg_share": 0.0}, "lp_reg_share"),
        ({"lp_reg_coef": 1.0, "lp_reg_kappa": 1.5}, "lp_reg_kappa"),
        ({"lp_reg_kappa": 0.5}, "lp_reg_coef is not set"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))
