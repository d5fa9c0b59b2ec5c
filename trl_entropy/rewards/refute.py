"""A cheap proof that two expressions differ, before math-verify asks sympy to simplify their difference."""

from itertools import product
from typing import Any

from sympy import Expr, Float, Symbol, UnevaluatedExpr
from sympy.core.function import AppliedUndef


# Positive, so that square roots and logarithms of symbols are on their principal branch; unlike any constant of a
# task.
_POINTS = (0.7316421, 1.3178296, 2.2360917, 0.4172933, 3.1917354)


def surely_different(gold: Any, answer: Any) -> bool:
    """Whether the two are expressions of numbers and the same symbols whose values at a point are far apart.

    "Far" is both relative (1e-3) and absolute (1e-3), much more than the rounding that math-verify forgives. False
    means "not shown", never "equal". Left to math-verify: anything but plain expressions, single symbols (it compares
    their spelling), percentages (9% and 9 are equal there), decimals, unknown functions.

    Example:
        >>> from sympy import sqrt
        >>> surely_different(sqrt(2), sqrt(3)), surely_different(sqrt(8), 2 * sqrt(2))
        (True, False)
    """
    for expression in (gold, answer):
        if not isinstance(expression, Expr) or isinstance(expression, Symbol):
            return False
        if expression.has(UnevaluatedExpr, Float, AppliedUndef):
            return False
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    if gold.free_symbols != answer.free_symbols or len(symbols) > len(_POINTS):
        return False
    point = dict(zip(symbols, _POINTS, strict=False))
    first, second = (_value(expression, point) for expression in (gold, answer))
    if first is None or second is None:
        return False
    return abs(first - second) > 1e-3 * max(1.0, abs(first), abs(second))


def _value(expression: Any, point: dict[Any, float]) -> complex | None:
    try:
        value = complex(expression.evalf(15, subs=point))
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None
    return value if all(abs(part) < 1e15 for part in (value.real, value.imag)) else None


def all_surely_different(golds: list[Any], answers: list[Any]) -> bool:
    """`surely_different` for every pair that math-verify would try; its texts are compared as texts."""
    for a, b in product(golds, answers):
        if isinstance(a, str) and isinstance(b, str):
            if a.strip() == b.strip():
                return False
        elif not isinstance(a, str) and not isinstance(b, str) and not surely_different(a, b):
            return False
    return True
