"""Equality of two mathematical answers, without a timeout: imported by the worker processes only."""

import logging
from functools import lru_cache

from math_verify import LatexExtractionConfig, parse, verify

from .refute import all_surely_different
from .two_stage import install


# LaTeX only: math-verify's other reader hands text to sympy's parse_expr, which evaluates Python.
_CONFIG = (LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False),)
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
    """`"equal"`, `"different"`, or `"unparsed"` (answer) / `"unparsed_gold"`, by math-verify, gold first.

    math-verify's verdict is not symmetric: an assignment `x = 3` in the answer matches a gold `3`, not the reverse.
    """
    expected = _read(gold)
    if not expected:
        return "unparsed_gold"
    given = _read(answer)
    if not given:
        return "unparsed"
    if all_surely_different(list(expected), list(given)):
        return "different"
    return "equal" if verify(list(expected), list(given), timeout_seconds=None) else "different"


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
