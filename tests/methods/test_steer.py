"""STEER (arXiv 2510.10150): influence and weights by hand, and the gradient against the reference."""

import math

import pytest
import torch

from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.steer import Steer, entropy_influence


LINEAR = {"steer_min": 0.5, "steer_max": 1.5}
EXPONENTIAL = {"steer_min": 0.8, "steer_mapping": "exponential"}


def chosen(arguments, advantages: list[float], counted: int, given: dict) -> tuple[Steer, View, dict]:
    """Probability 1/2 and an entropy of ln 2 + 1 nat everywhere, so that O = |A| / 2."""
    method, size = Steer(), (1, len(advantages))
    method.attach(EntropyGRPOConfig(**arguments(**given)))
    scored = {"logps": torch.full(size, -math.log(2)), "entropy": torch.full(size, math.log(2) + 1)}
    mask = torch.arange(size[1]).unsqueeze(0) < counted
    view = View(torch.tensor([advantages]), mask, mask, scored)
    return method, view, method.select(view, Scope())


def test_influence_by_hand():
    """p 1/2, H 1, A 2: 2 * 1/2 * (1 - ln 2) = 0.3069; p 1/4, H 1, A -4: 4 * 3/4 * |1 - ln 4| = 1.1589; p 1: 0."""
    logps = torch.tensor([[0.5, 0.25, 1.0]]).log()
    found = entropy_influence(logps, torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[2.0, -4.0, 3.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.306853, 1.158883, 0.0]]), atol=1e-6, rtol=0)


def test_linear_weights_by_hand(arguments):
    """O from 0.2 to 1: weight 1.5 - (O - 0.2) / 0.8, whatever a token that does not count would have."""
    method, view, found = chosen(arguments, [0.4, -2.0, 1.2, 90.0], 3, LINEAR)
    torch.testing.assert_close(found["weight"], torch.tensor([[1.5, 0.5, 1.0, 0.0]]))
    sums, maxima = method.selection_sums(view, found)
    logged = method.close_selection({name: float(value) for name, value in (sums | maxima).items()})
    assert logged == {"steer/weight": pytest.approx(1.0), "steer/max_influence": pytest.approx(1.0)}


def test_equal_influence_has_the_weight_between(arguments):
    _, _, found = chosen(arguments, [1.0, -1.0, 1.0], 3, {"steer_min": 0.8})
    torch.testing.assert_close(found["weight"], torch.ones(1, 3))


def test_exponential_weights_by_hand(arguments):
    """Largest O 1: 0.8^O. All below 0.02: 0.8^(O / 0.02), so that small changes are left alone."""
    _, _, found = chosen(arguments, [0.0, 1.0, -2.0, 90.0], 3, EXPONENTIAL)
    torch.testing.assert_close(found["weight"], torch.tensor([[1.0, 0.894427, 0.8, 0.0]]))
    _, _, found = chosen(arguments, [0.0, 0.02], 2, EXPONENTIAL)
    torch.testing.assert_close(found["weight"], torch.tensor([[1.0, 0.894427]]))


def influences(rows) -> list[list[float]]:
    return [[abs(t.advantage * (1 - math.exp(t.logp)) * (t.logp + t.entropy)) for t in row] for row in rows]


@pytest.mark.parametrize("scope", ["batch", "micro_batch"])
def test_the_linear_gradient_is_the_references(scope, arguments, dataset):
    def shape(rows):
        every = influences(rows)
        low, high = min(map(min, every)), max(map(max, every))
        return [
            [t.advantage * (1.5 - (o - low) / (high - low)) for t, o in zip(row, of_row, strict=True)]
            for row, of_row in zip(rows, every, strict=True)
        ]

    assert_gradient(arguments, dataset, shape, **LINEAR, entropy_scope=scope)


def test_the_exponential_gradient_is_the_references(arguments, dataset):
    def shape(rows):
        every = influences(rows)
        high = max(map(max, every))
        return [
            [t.advantage * 0.3 ** (o / high) for t, o in zip(row, of_row, strict=True)]
            for row, of_row in zip(rows, every, strict=True)
        ]

    assert_gradient(arguments, dataset, shape, steer_min=0.3, steer_mapping="exponential")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steer_min": 1.0}, r"steer_min=1\.0 is not allowed"),
        ({"steer_min": 0.8, "steer_max": 0.9}, r"steer_max=0\.9 is not allowed"),
        ({**EXPONENTIAL, "steer_max": 1.5}, "has no effect with steer_mapping"),
        ({"steer_max": 1.5}, "steer_min is not set"),
        ({"steer_min": 0.8, "steer_mapping": "cubic"}, "steer_mapping='cubic' is not allowed"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))
