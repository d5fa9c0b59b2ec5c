"""A controller by itself: the factor on one coefficient after each of a list of entropies."""

from collections.abc import Iterable

from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods import BONUS, CONTROLLERS, Controller, Measured


def controller(arguments, **given) -> Controller:
    """The one that the arguments switch on, by default on TRL's bonus."""
    args = EntropyGRPOConfig(**arguments(**{"entropy_coef": 0.01, **given}))
    (kind,) = (kind for kind in CONTROLLERS if kind.is_on(args))
    return kind().attach(args)


def factors(it: Controller, entropies: Iterable[float], way: int = 1, **numbers: float) -> list[float]:
    """The factor on a coefficient that pushes entropy `way`, after each step."""
    found = []
    for step, entropy in enumerate(entropies, 1):
        it.step(Measured(step, 0.0, entropy, {BONUS: way}, numbers))
        found.append(it.factors((BONUS,))[BONUS])
    return found
