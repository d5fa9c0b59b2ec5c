"""Equality of two mathematical answers, without a timeout: imported by the worker processes only."""

import logging
from functools import lru_cache

from math_verify import LatexExtractionConfig, parse, verify


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
    return "equal" if verify(list(expected), list(given), timeout_seconds=None) else "different"


def warm_up() -> None:
    """Fill the parser's tables once, before workers are forked, so that a restarted worker starts fast."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    for gold, answer in _WARM_UP:
        compare(gold, answer)
    _read.cache_clear()


@lru_cache(maxsize=1024)
def _read(text: str) -> tuple:
    # A box that the text closes itself would be read as two answers; balanced braces are the caller's business.
    return tuple(parse(f"\\boxed{{{text}}}", _CONFIG, extraction_mode="first_match", parsing_timeout=None))
