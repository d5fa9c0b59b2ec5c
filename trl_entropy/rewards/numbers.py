"""Verdicts that need no worker: plain integers and identical texts, exactly as math-verify judges them."""

import re


_INTEGER = re.compile(r"([+-]?)(\d+)")


def quick_verdict(gold: str, answer: str) -> str | None:
    """`"equal"` or `"different"` for two plain integers of at most 1,000 digits, else None.

    Most answers of AIME, AMC and GSM8K are integers; a worker is not asked whether 7 is 8.

    Example:
        >>> quick_verdict("042", "42"), quick_verdict("7", "8"), quick_verdict("7", "7.0")
        ('equal', 'different', None)
    """
    first, second = _integer(gold), _integer(answer)
    if first is None or second is None:
        return None
    return "equal" if first == second else "different"


def _integer(text: str) -> int | None:
    text = text.strip()
    match = _INTEGER.fullmatch(text)
    # ASCII only: \d also matches digits of other scripts, which math-verify reads as letters.
    if match is None or len(text) > 1_000 or not text.isascii():
        return None
    return int(text)
