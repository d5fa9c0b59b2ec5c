"""STARE (arXiv 2606.19236): weights by hand, and the gradient against the reference."""

import math

import pytest
import torch

from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.stare import Stare


GIVEN = {"stare_target": 9.0, "stare_share": 0.3, "stare_positive": 1.5, "stare_negative": 0.5}
LOGPS = [[-1.0, -4.0, -2.0, -9.0], [-3.0, -1.0, -5.0, -9.0]]


def chosen(arguments, entropy: float, **given):
    """Four tokens of A = 1 and four of A = -1; the last of each row does not count."""
    method = Stare()
    method.attach(EntropyGRPOConfig(**arguments(**{**GIVEN, **given})))
    mask = torch.tensor([[True, True, True, False]]).expand(2, 4)
    advantages = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    view = View(advantages, mask, mask, {"logps": torch.tensor(LOGPS), "entropy": torch.full((2, 4), entropy)})
    found = method.select(view, Scope())
    sums, maxima = method.selection_sums(view, found)
    return found, method.close_selection({name: float(value) for name, value in (sums | maxima).items()})


def test_by_hand(arguments):
    """The most surprising third of each sign, rounded up: one token of three at a share of 0.3, two at 0.4."""
    found, logged = chosen(arguments, 0.2)
    assert found["weight"].tolist() == [[1.0, 1.5, 1.0, 1.0], [1.0, 1.0, 0.5, 1.0]]
    assert logged == {"stare/acting": 1.0, "stare/selected_share": pytest.approx(2 / 6)}
    found, _ = chosen(arguments, 0.2, stare_share=0.4)
    assert found["weight"].tolist() == [[1.0, 1.5, 1.5, 1.0], [0.5, 1.0, 0.5, 1.0]]


def test_it_rests_at_and_above_its_target(arguments):
    for entropy in (0.3, 0.4):
        found, logged = chosen(arguments, entropy, stare_target=0.3)
        assert found["weight"].eq(1).all()
        assert logged == {"stare/acting": 0.0, "stare/selected_share": 0.0}
    assert chosen(arguments, 0.29, stare_target=0.3)[1]["stare/acting"] == 1.0


def test_a_weight_of_1_is_no_selection(arguments):
    _, logged = chosen(arguments, 0.2, stare_negative=1.0)
    assert logged["stare/selected_share"] == pytest.approx(1 / 6)


def test_an_advantage_of_0_has_no_sign(arguments):
    """Of two tokens with a sign each the more surprising one; those of A = 0 are neither weighed nor counted."""
    method = Stare().attach(EntropyGRPOConfig(**arguments(**{**GIVEN, "stare_share": 0.5})))
    mask, advantages = torch.ones(1, 8, dtype=torch.bool), torch.tensor([[1.0, 1, 0, 0, 0, 0, -1, -1]])
    logps = torch.tensor([[-1.0, -2, -9, -9, -9, -9, -1, -2]])
    found = method.select(View(advantages, mask, mask, {"logps": logps, "entropy": torch.zeros(1, 8)}), Scope())
    assert found["weight"].tolist() == [[1, 1.5, 1, 1, 1, 1, 1, 0.5]]


@pytest.mark.parametrize("scope", ["batch", "micro_batch"])
def test_the_gradient_is_the_references(scope, arguments, dataset):
    def shape(rows):
        advantages = [[t.advantage for t in row] for row in rows]
        for sign, weight in ((1, 1.5), (-1, 0.5)):
            places = [(b, t) for b, row in enumerate(rows) for t, x in enumerate(row) if sign * x.advantage > 0]
            places.sort(key=lambda p: rows[p[0]][p[1]].logp)
            for b, t in places[: math.ceil(0.3 * len(places))]:
                advantages[b][t] *= weight
        return advantages

    assert_gradient(arguments, dataset, shape, **GIVEN, entropy_scope=scope)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stare_target": 0.3, "stare_positive": 1.0}, "leave every token as it is"),
        ({"stare_target": -1.0}, "stare_target"),
        ({"stare_target": 14.0}, r"stare_target=14\.0 is not allowed"),
        ({"stare_target": 0.3, "stare_share": 0.0}, "stare_share"),
        ({"stare_target": 0.3, "stare_positive": 0.9}, "stare_positive"),
        ({"stare_target": 0.3, "stare_negative": 1.1}, "stare_negative"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))
