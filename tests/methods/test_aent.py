"""AEnt (arXiv 2509.03493): by hand, and the gradient against the reference."""

import math
from types import SimpleNamespace

import pytest
import torch

from tests import oracle
from tests.methods.reference import assert_gradient
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods.aent import AEnt


def test_by_hand(arguments):
    """coefficient 0.5, gain 3: -1.5 H. The mean is over the tokens that count."""
    method = AEnt()
    method.attach(EntropyGRPOConfig(**arguments(aent_coef=0.5)))
    method.gain = 3.0
    kept = torch.tensor([[0.2, 0.6, math.nan]], requires_grad=True)
    micro = SimpleNamespace(head={"kept_entropy": kept}, mask=torch.tensor([[True, True, False]]))
    torch.testing.assert_close(method.loss(micro)[0, :2], torch.tensor([-0.3, -0.9]))
    sums, _ = method.sums(micro)
    logged = method.close({name: float(value.detach()) for name, value in sums.items()})
    assert logged == {"aent/entropy": pytest.approx(0.4)}
    assert math.isnan(method.close({"entropy": 0.0, "tokens": 0.0})["aent/entropy"])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_gradient_is_the_references(share, arguments, dataset):
    def added(rows, logits):
        loss = torch.zeros((), dtype=torch.float64)
        for row in logits:
            for z in row:
                order = sorted(range(len(z)), key=lambda word, z=z: -z[word].item())
                kept = order[: len(z) - math.floor(share * len(z))]
                loss = loss - 0.8 * oracle.entropy_of(z, kept)
        return loss

    assert_gradient(arguments, dataset, added=added, splits=(1, 4), aent_coef=0.8, aent_share=share)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"aent_coef": -1.0}, "aent_coef"),
        ({"aent_coef": math.inf}, "aent_coef"),
        ({"aent_coef": 0.1, "aent_share": 1.0}, "aent_share"),
        ({"aent_share": 0.2}, "aent_coef is not set"),
    ],
)
def test_refused(given, message, arguments):
    with pytest.raises(ValueError, match=message):
        EntropyGRPOConfig(**arguments(**given))
