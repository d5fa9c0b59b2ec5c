"""Equality of two mathematical answers, without a timeout: imported by the worker processes only."""

import logging
import re
from functools import lru_cache
from typing import Any

from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import FiniteSet

from .golds import unreadable
from .numbers import quick_verdict
from .reconcile import reconcile
from .two_stage import install
from .values import all_surely_different, falsely_equal, same_where_real


# LaTeX only: math-verify's other reader hands text to sympy's parse_expr, which evaluates Python. Its units are off:
# it takes a last factor c, d, g, h, l, m, o, s or t for one.
_CONFIG = (
    LatexExtractionConfig(
        boxed_match_priority=0,
        try_extract_without_anchor=False,
        normalization_config=NormalizationConfig(malformed_operators=True, nits=True),
    ),
)
_SYMBOL = re.compile(r"(?<![A-Za-z\\])[A-Za-z]")
_WARM_UP = (
    (r"\frac{1}{2}", "0.5"),
    (r"50\%", r"\frac12"),
    (r"(1, 2]", r"[1,\infty)\cup(2,3)"),
    (r"\{1, 2\}", "2, 1"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left(\begin{array}{c}1\\x^{2}\end{array}\right)"),
    (r"x = 3\sqrt{2}", r"y < \pi r^2 + \sin(x) - \log_2 8"),
    (r"\text{Sunday}", r"3\text{ cm}"),
    ("3x + 2", "2(x+1)+x"),
)


def compare(gold: str, answer: str) -> str:
    """`"equal"`, `"different"`, `"unparsed"` (answer) or `"unparsed_gold"`: `reconcile`, then math-verify, gold first.

    math-verify's verdict is not symmetric: an assignment `x = 3` in the answer matches a gold `3`, not the reverse.
    Its "equal" stands unless `falsely_equal` refutes it; its "different" yields to the same number without a percent
    sign, to several spellings of the one answer ("1/2 or 0.5"), and to `same_where_real`.
    """
    pair = reconcile(gold, answer)
    if pair is None:
        return "different"
    gold, answer = pair
    verdict = quick_verdict(gold, answer)
    if verdict is None and unreadable(gold):
        return "unparsed_gold"
    if verdict is not None:
        return verdict
    expected, given = _read(gold), _read(answer)
    if not expected:
        return "unparsed_gold"
    if not given:
        return "unparsed"
    if _equal(expected, given):
        return "equal"
    if gold.endswith("%") != answer.endswith("%") and not _SYMBOL.search(gold + " " + answer):
        return compare(gold.removesuffix("%").rstrip("\\ "), answer.removesuffix("%").rstrip("\\ "))
    return "different"


def _equal(expected: tuple, given: tuple) -> bool:
    if all_surely_different(list(expected), list(given)):
        return False
    for wanted in expected:
        for had in given:
            if isinstance(wanted, str) != isinstance(had, str):
                continue
            equal = verify(wanted, had, allow_set_relation_comp=True, timeout_seconds=None)
            if (equal or same_where_real(wanted, had)) and not falsely_equal(wanted, had):
                return True
    several = _members(given[0])
    return bool(several) and not _members(expected[0]) and all(_equal(expected[:1], (one,)) for one in several)


def _members(expression: Any) -> tuple:
    """The members of a finite set of two or more, as a list of answers is read; none of anything else."""
    return expression.args if isinstance(expression, FiniteSet) and len(expression.args) > 1 else ()


def warm_up() -> None:
    """Prepare the parser once, before workers are forked: two-stage parsing, tables filled, warnings off."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    install()
    for gold, answer in _WARM_UP:
        compare(gold, answer)
    _read.cache_clear()


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple:
    # A box that the text closes itself would be read as two answers; balanced braces are the caller's business.
    boxed = f"\\boxed{{{text}}}"
    return tuple(parse(boxed, _CONFIG, extraction_mode="first_match", parsing_timeout=None))  # type: ignore[arg-type]
