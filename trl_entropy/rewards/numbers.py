"""Verdicts that need no worker: identical texts, and plain numbers, which math-verify judges the same or less well."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple


_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s*(?:10\^\{?(?P<bare>-?\d+)\}?"
    r"|(?=[\d.\\])(?P<whole>\d{1,3}(?:,\d{3})+|\d+)?(?:\.(?P<decimals>\d+)|\.(?=\D|$))?"
    r"(?:\s*/\s*(?P<under>\d+)|\s*\\[dt]?frac\s*\{\s*(?P<above>\d+)\s*\}\s*\{\s*(?P<below>\d+)\s*\})?"
    r"(?:\s*\\(?:times|cdot)\s*10\^\{?(?P<power>-?\d+)\}?)?)\s*(?P<percent>\\%)?",
    re.ASCII,
)
_SIZES = re.compile(r"\\left(?![a-z])|\\right(?![a-z])")
_SPACING = re.compile(r"(?:(?<!\\)\\[,;!]|\s)+")


def quick_verdict(gold: str, answer: str) -> str | None:
    r"""`"equal"` for the same text up to spacing, either verdict for two plain numbers, else None.

    Most answers of AIME, AMC and GSM8K are integers, and most right answers are spelled as the gold is: a worker,
    whose parser takes about 10 ms an answer, is asked about the others.

    Numbers are integers, decimals, fractions, mixed numbers, grouped thousands, powers of ten, percentages. Equal are
    equal values, and `50` or `0.5` for 50 %. Different are exact values that are not the same, and decimals further
    apart than 2e-6 (math-verify compares them at six places) or, so that small ones are not all equal, than a part in
    1e5 of the larger, a part in 1e3 where only one of the two is a decimal. What is closer is math-verify's.

    Example:
        >>> quick_verdict(r"\frac{2}{4}", "1/2"), quick_verdict("12.5", r"12.5\%"), quick_verdict("x  2", "x2")
        ('equal', 'equal', 'equal')
        >>> quick_verdict("4.5 \\times 10^{33}", "4.5"), quick_verdict("1", "x")
        ('different', None)
    """
    first, second = number(gold), number(answer)
    if first is not None and second is not None:
        scales = [1] if first.percent == second.percent else [1, 100 if first.percent else Fraction(1, 100)]
        if any(first.value == second.value * scale for scale in scales):
            return "equal"
        if all(_apart(first, second, scale) for scale in scales):
            return "different"
    plain = _without_spacing(gold)
    return "equal" if plain and plain == _without_spacing(answer) else None


class Number(NamedTuple):
    """A value; whether it is exact, so no decimal; whether it is a percentage, whose value is before the sign."""

    value: Fraction
    exact: bool
    percent: bool


def _apart(first: Number, second: Number, scale: int | Fraction) -> bool:
    difference = abs(first.value - second.value * scale)
    if first.exact and second.exact:
        return difference > 0
    larger = max(abs(first.value), abs(second.value * scale))
    share = Fraction(1, 1000) if first.exact or second.exact else Fraction(1, 100_000)
    return difference > min(Fraction(2, 1_000_000), larger * share)


@lru_cache(maxsize=4096)
def number(text: str) -> Number | None:
    """A plain number, None of anything else."""
    match = _NUMBER.fullmatch(text) if len(text) <= 1_000 else None
    if match is None:
        return None
    whole, decimals, above = match["whole"], match["decimals"], match["above"]
    below, exponent = int(match["below"] or match["under"] or 1), int(match["power"] or match["bare"] or 0)
    if (
        (whole or decimals or above or match["bare"]) is None
        or (decimals and below > 1)
        or abs(exponent) > 400
        or not below
    ):
        return None
    value = Fraction(int(whole.replace(",", "")) if whole else int(match["bare"] is not None))
    if match["under"]:
        value /= below
    value += Fraction(int(above or 0), below) + Fraction(int(decimals or 0), 10 ** len(decimals or ""))
    value *= Fraction(10) ** exponent
    return Number(-value if match["sign"] == "-" else value, decimals is None, match["percent"] is not None)


def _without_spacing(text: str) -> str:
    text = _SIZES.sub("", text.strip())
    return _SPACING.sub(_closed_up, text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")


def _closed_up(space: re.Match[str]) -> str:
    """Nothing, but a space between two digits: `1 2` is not 12. Thin spaces alone group digits: `1\\,000` is 1000."""
    text, start, end = space.string, space.start(), space.end()
    between = start > 0 and end < len(text) and text[start - 1].isdigit() and text[end].isdigit()
    return " " if between and any(c.isspace() for c in space.group()) else ""
