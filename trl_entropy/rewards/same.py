"""A cheap proof that two expressions are the same, where math-verify's simplification does not find it."""

from typing import Any

from sympy import Expr, FiniteSet, UnevaluatedExpr
from sympy.core.function import AppliedUndef

from .refute import value_at


# Of both signs, small and large, so that some of them lie in the domain of most roots and logarithms.
_POINTS = (0.2931642, 0.7316421, 1.3178296, 3.1917354, 7.6172933, 23.417729, -0.4172933, -2.2360917, -11.839172)
_NEEDED, _SYMBOLS = 3, 5


def same_where_real(gold: Any, answer: Any) -> bool:
    r"""Whether two expressions of the same symbols have the same value at each of nine points where both are real.

    Needed are three such points; "same" means to a part in 1e9. So `\sqrt{1/n}` is `1/\sqrt{n}`, which differ for
    n < 0 only, where neither is real, and `|x|` is not `x`. Constants need both to be numbers.

    Example:
        >>> from sympy import Symbol, sqrt
        >>> n = Symbol("n", real=True)
        >>> same_where_real(sqrt(1 / n), 1 / sqrt(n)), same_where_real(sqrt(n**2), n)
        (True, False)
    """
    for expression in (gold, answer):
        if not isinstance(expression, Expr):
            return False
        if expression.has(UnevaluatedExpr, AppliedUndef):
            return False
    symbols = sorted(gold.free_symbols, key=str)
    if gold.free_symbols != answer.free_symbols or (gold.is_Symbol and answer.is_Symbol) or len(symbols) > _SYMBOLS:
        return False
    real = 0
    for shift in range(len(_POINTS) if symbols else 1):
        point = {symbol: _POINTS[(shift + 4 * i) % len(_POINTS)] for i, symbol in enumerate(symbols)}
        first, second = value_at(gold, point), value_at(answer, point)
        if first is None or second is None:
            continue
        if symbols and (abs(first.imag) > 1e-12 * abs(first) or abs(second.imag) > 1e-12 * abs(second)):
            continue
        if abs(first - second) > 1e-9 * max(abs(first), abs(second)):
            return False
        real += 1
    return real >= (_NEEDED if symbols else 1)


def members(expression: Any) -> tuple:
    """The members of a finite set of two or more, as a list of answers is read; none of anything else."""
    return expression.args if isinstance(expression, FiniteSet) and len(expression.args) > 1 else ()
