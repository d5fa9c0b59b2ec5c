"""Which way TRL's entropy bonus pushes, by its sign: the guard lowers what pushes entropy further out."""

from types import SimpleNamespace

import pytest

from trl_entropy import EntropyGRPOConfig
from trl_entropy.step.controls import Controls


@pytest.mark.parametrize(
    ("bonus", "entropy", "lowered"),
    [
        (0.08, 2.5, 0.04),  # pushes up while entropy is above
        (0.08, 0.1, 0.08),
        (-0.08, 2.5, -0.08),
        (-0.08, 0.1, -0.04),  # a negative one pushes down while entropy is below
        (-0.08, 1.0, -0.08),
    ],
)
def test_the_guard_halves_a_bonus_that_pushes_out(bonus, entropy, lowered, arguments):
    args = EntropyGRPOConfig(
        **arguments(entropy_coef=bonus, entropy_guard="lower", entropy_guard_low=0.2, entropy_guard_high=2.0)
    )
    controls, trainer = Controls(args, ()), SimpleNamespace(entropy_coef=bonus)
    assert controls.step(1, 0.0, entropy) == {"guard/scale": lowered / bonus}
    controls.apply(trainer)
    assert trainer.entropy_coef == lowered
