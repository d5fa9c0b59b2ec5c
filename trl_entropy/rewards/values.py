"""What two expressions' values at a few points say, whatever math-verify finds: that they differ, or are the same."""

from itertools import product
from typing import Any

from sympy import And, Eq, Expr, FiniteSet, Float, Interval, Symbol, Tuple, UnevaluatedExpr
from sympy.core.function import AppliedUndef


# Positive, so that square roots and logarithms of symbols are on their principal branch; unlike any constant of a task
_POSITIVE = (0.7316421, 1.3178296, 2.2360917, 0.4172933, 3.1917354)
# Of both signs, small and large, so that some of them lie in the domain of most roots and logarithms
_MIXED = (0.2931642, 0.7316421, 1.3178296, 3.1917354, 7.6172933, 23.417729, -0.4172933, -2.2360917, -11.839172)
_NEEDED, _SYMBOLS = 3, 5


def surely_different(gold: Any, answer: Any, same_symbols: bool = True) -> bool:
    """Whether the two are expressions of numbers and symbols, by default the same, with values at a point far apart.

    "Far" is both relative (1e-3) and absolute (1e-3), much more than the rounding that math-verify forgives. False
    means "not shown", never "equal". Left to math-verify: anything but plain expressions, single symbols (it compares
    their spelling), percentages (9% and 9 are equal there), decimals, unknown functions.

    Example:
        >>> from sympy import sqrt
        >>> surely_different(sqrt(2), sqrt(3)), surely_different(sqrt(8), 2 * sqrt(2))
        (True, False)
    """
    both = (gold, answer)
    if not all(_is_plain(e, UnevaluatedExpr, Float, AppliedUndef) and not isinstance(e, Symbol) for e in both):
        return False
    if same_symbols and gold.free_symbols != answer.free_symbols:
        return False
    symbols = sorted(gold.free_symbols | answer.free_symbols, key=str)
    first, second = (_value(e, dict(zip(symbols, _POSITIVE, strict=False))) for e in both)
    return _apart(first, second, 1e-3, least=1.0)


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
        return any(surely_different(a, b, same_symbols=False) for a, b in ends)
    if not (isinstance(gold, (FiniteSet, Tuple)) and isinstance(answer, (FiniteSet, Tuple))):
        return False
    return any(all(surely_different(a, b, same_symbols=False) for b in answer.args) for a in gold.args)


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
    if not all(_is_plain(constant, UnevaluatedExpr) and not constant.free_symbols for constant in both):
        return False
    share = 1e-3 if any(constant.has(Float) for constant in both) else 1e-9
    return _apart(_value(gold, {}), _value(answer, {}), share)


def _has_false_equation(expression: Any) -> bool:
    if isinstance(expression, (And, FiniteSet, Tuple)):
        return any(map(_has_false_equation, expression.args))
    if not isinstance(expression, Eq) or not all(isinstance(side, Expr) for side in expression.args):
        return False
    left, right = (
        None if side.free_symbols or side.has(AppliedUndef) else _value(side, {}) for side in expression.args
    )
    return _apart(left, right, 1e-2, least=1.0)


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
    if not all(_is_plain(expression, UnevaluatedExpr, AppliedUndef) for expression in (gold, answer)):
        return False
    symbols = sorted(gold.free_symbols, key=str)
    if gold.free_symbols != answer.free_symbols or (gold.is_Symbol and answer.is_Symbol) or len(symbols) > _SYMBOLS:
        return False
    real = 0
    for shift in range(len(_MIXED) if symbols else 1):
        point = {symbol: _MIXED[(shift + 4 * i) % len(_MIXED)] for i, symbol in enumerate(symbols)}
        first, second = _value(gold, point), _value(answer, point)
        if first is None or second is None:
            continue
        if symbols and any(abs(value.imag) > 1e-12 * abs(value) for value in (first, second)):
            continue
        if _apart(first, second, 1e-9):
            return False
        real += 1
    return real >= (_NEEDED if symbols else 1)


def _is_plain(expression: Any, *without: type) -> bool:
    return isinstance(expression, Expr) and not expression.has(*without)


def _value(expression: Any, point: dict[Any, float]) -> complex | None:
    """The value of an expression with numbers for its symbols, None where there is none below 1e15."""
    try:
        value = complex(expression.evalf(15, subs=point))
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None
    return value if all(abs(part) < 1e15 for part in (value.real, value.imag)) else None


def _apart(first: complex | None, second: complex | None, share: float, least: float = 0.0) -> bool:
    """Whether both are values, and further apart than a share of the larger, or of `least`."""
    return (
        first is not None and second is not None and abs(first - second) > share * max(least, abs(first), abs(second))
    )
