"""Proofs that two expressions differ: a cheap one before math-verify is asked, and where math-verify is wrong."""

from itertools import product
from typing import Any

from sympy import And, Eq, Expr, FiniteSet, Float, Interval, Symbol, Tuple, UnevaluatedExpr
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
    first, second = (value_at(expression, point) for expression in (gold, answer))
    if first is None or second is None:
        return False
    return abs(first - second) > 1e-3 * max(1.0, abs(first), abs(second))


def value_at(expression: Any, point: dict[Any, float]) -> complex | None:
    """The value of an expression with numbers for its symbols, None where there is none below 1e15."""
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
        elif not (isinstance(a, str) or isinstance(b, str) or surely_different(a, b) or _members_differ(a, b)):
            return False
    return True


def _members_differ(gold: Any, answer: Any) -> bool:
    """Whether an interval's end, or a member of a set or tuple, surely differs from all it could be paired with."""
    if isinstance(gold, Interval) and isinstance(answer, Interval):
        ends = ((gold.start, answer.start), (gold.end, answer.end))
        return any(_far_apart(a, b) for a, b in ends)
    if not (isinstance(gold, (FiniteSet, Tuple)) and isinstance(answer, (FiniteSet, Tuple))):
        return False
    return any(all(_far_apart(a, b) for b in answer.args) for a in gold.args)


def _far_apart(gold: Any, answer: Any) -> bool:
    """`surely_different`, for expressions of other symbols too: at a point of all symbols their values differ."""
    both = (gold, answer)
    if surely_different(gold, answer):
        return True
    if not all(isinstance(e, Expr) and not isinstance(e, Symbol) and not e.has(UnevaluatedExpr, Float) for e in both):
        return False
    point = dict(zip(sorted(gold.free_symbols | answer.free_symbols, key=str), _POINTS, strict=False))
    first, second = (value_at(expression, point) for expression in both)
    return first is not None and second is not None and abs(first - second) > 1e-3 * max(1.0, abs(first), abs(second))


def falsely_equal(gold: Any, answer: Any) -> bool:
    """Whether math-verify could call equal what is not: constants too small for it, an answer with a false equation.

    It compares decimals at six places and drops what is below 1e-15; constants that differ by more than a part in a
    thousand, or in 1e9 if both are exact, are not equal, however small. Of `4 = 3` it reads the right side alone.

    Example:
        >>> from sympy import Eq, Integer, pi
        >>> falsely_equal(pi / 10**20, 2 * pi / 10**20), falsely_equal(Integer(3), Eq(4, 3, evaluate=False))
        (True, True)
    """
    if _has_false_equation(answer) and not _has_false_equation(gold):
        return True
    if isinstance(gold, (FiniteSet, Tuple)) and isinstance(answer, (FiniteSet, Tuple)):
        return len(gold.args) == len(answer.args) == 1 and falsely_equal(gold.args[0], answer.args[0])
    both = (gold, answer)
    if not all(isinstance(c, Expr) and not c.free_symbols and not c.has(UnevaluatedExpr) for c in both):
        return False
    first, second = (value_at(constant, {}) for constant in both)
    if first is None or second is None or first == second:
        return False
    share = 1e-3 if any(constant.has(Float) for constant in both) else 1e-9
    return abs(first - second) > share * max(abs(first), abs(second))


def _has_false_equation(expression: Any) -> bool:
    if isinstance(expression, (And, FiniteSet, Tuple)):
        return any(map(_has_false_equation, expression.args))
    if not isinstance(expression, Eq) or not all(isinstance(side, Expr) for side in expression.args):
        return False
    sides = [None if side.free_symbols or side.has(AppliedUndef) else value_at(side, {}) for side in expression.args]
    if sides[0] is None or sides[1] is None:
        return False
    return abs(sides[0] - sides[1]) > 1e-2 * max(1.0, abs(sides[0]), abs(sides[1]))
