"""Verdicts that need no worker: identical texts, plain integers and fractions, exactly as math-verify judges them."""

import re
from fractions import Fraction


_RATIONAL = re.compile(r"([+-]?)(?:(\d+)|(\d+)\s*/\s*(\d+)|\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\})", re.ASCII)
_SIZES = re.compile(r"\\left(?![a-z])|\\right(?![a-z])")
_SPACING = re.compile(r"(?:(?<!\\)\\[,;!]|\s)+")


def quick_verdict(gold: str, answer: str) -> str | None:
    r"""`"equal"` for the same text up to spacing, either verdict for two plain integers or fractions, else None.

    Most answers of AIME, AMC and GSM8K are integers, and most right answers are spelled as the gold is: a worker,
    whose parser takes about 10 ms an answer, is asked about the others.

    Example:
        >>> quick_verdict("042", "42"), quick_verdict(r"\frac{2}{4}", "1/2"), quick_verdict("7", "7.0")
        ('equal', 'equal', None)
    """
    first, second = _rational(gold), _rational(answer)
    if first is not None and second is not None:
        return "equal" if first == second else "different"
    plain = _without_spacing(gold)
    return "equal" if plain and plain == _without_spacing(answer) else None


def _rational(text: str) -> Fraction | None:
    text = text.strip()
    match = _RATIONAL.fullmatch(text) if len(text) <= 1_000 else None
    if match is None:
        return None
    sign, integer, above, below, upper, lower = match.groups()
    denominator = int(below or lower or 1)
    if denominator == 0:
        return None
    value = Fraction(int(integer or above or upper), denominator)
    return -value if sign == "-" else value


def _without_spacing(text: str) -> str:
    text = _SIZES.sub("", text.strip())
    return _SPACING.sub(_closed_up, text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")


def _closed_up(space: re.Match[str]) -> str:
    """Nothing, but a space between two digits: `1 2` is not 12. Thin spaces alone group digits: `1\\,000` is 1000."""
    text, start, end = space.string, space.start(), space.end()
    between = start > 0 and end < len(text) and text[start - 1].isdigit() and text[end].isdigit()
    return " " if between and any(c.isspace() for c in space.group()) else ""
