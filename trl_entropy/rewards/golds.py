r"""From a data set's cell to the text of the gold answer, and whether anybody can read it."""

import re
from collections.abc import Mapping
from typing import Any

from .extract import MAX_ANSWER_CHARS, extract_answer, stated_answer


_NOTHING = frozenset({"", "nan", "n/a", "na", "none", "null", "<na>", "nat"})
_IN_MATH = re.compile(r"(\$\$?)([^$]+)\1|\\\[(.+)\\\]|\\\((.+)\\\)", re.DOTALL)
_REASON = re.compile(r",?\s+(?:because|since)\s")
_QUOTED = re.compile(r"\\[A-Za-z]+\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z]{2,}")
_CUT = re.compile(
    r"(?:(?<=[\w)}])\s*[+\-*/=<>^_]|\\(?:[dtc]?frac|sqrt|cdot|times|div|cup|cap|left|text)"
    r"|\\[dtc]?frac\s*(?:\{[^{}]*\}|\d))\s*\Z"
)
_PROSE = 5


def gold_text(gold: Any) -> str:
    r"""A cell of an answer column as text: a list's entries joined by commas, numbers as Python prints them.

    None, NaN, objects (`{"ground_truth": "34"}`) and whatever else is no answer give the empty text, which nobody can
    read.

    Example:
        >>> gold_text(["$1$", 2.5]), gold_text(1e-05), gold_text(float("nan")), gold_text({"answer": "5"})
        ('1, 2.5', '1e-05', '', '')
    """
    gold = gold.tolist() if hasattr(gold, "tolist") else gold  # numpy, torch
    if isinstance(gold, (list, tuple)):
        texts = [gold_text(entry) for entry in gold]
        return (", ".join(gold_answer(text) for text in texts) if len(texts) > 1 else texts[0]) if all(texts) else ""
    return "" if isinstance(gold, Mapping) or str(gold).strip().lower() in _NOTHING else str(gold)


def gold_answer(gold: Any) -> str:
    r"""The answer inside a gold: in its last `<answer>` or box, behind `####` or "the answer is", in `$...$`, or all.

    None, as of a data set's empty cell, gives the empty text, which no grader can read.

    Example:
        >>> gold_answer("2 + 2 = 4\n#### 4"), gold_answer("$x$"), gold_answer("The answer is 5."), gold_answer(None)
        ('4', 'x', '5', '')
    """
    text = gold_text(gold).rpartition("<answer>")[2].partition("</answer>")[0].strip()
    boxed = extract_answer(text, require_box=True)
    if boxed is not None:
        return boxed
    if "####" in text:
        text = text.rsplit("####", 1)[1].strip()
    else:
        text = stated_answer(text) or text
    inside = _IN_MATH.fullmatch(text)
    if inside is not None:
        text = (inside[2] or inside[3] or inside[4]).strip()
    return _REASON.split(text, maxsplit=1)[0] if len(text) <= MAX_ANSWER_CHARS else text


def unreadable(gold: str) -> bool:
    r"""Whether a gold answer is none: nothing, too long, cut off (`\frac{`, `x +`), or five words of prose or more.

    Prose may still be matched by the same words. The words of `\text{...}` do not count.

    Example:
        >>> [unreadable(gold) for gold in ("", "nan", r"\frac{1}{", "We then show that f is even", r"\frac12")]
        [True, True, True, True, False]
    """
    if gold.strip().lower() in _NOTHING or len(gold) > MAX_ANSWER_CHARS or _CUT.search(gold):
        return True
    depth = 0
    for brace in re.findall(r"\\.|[{}]", gold, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return True
    return depth != 0 or len(_WORD.findall(_QUOTED.sub(" ", gold))) >= _PROSE
