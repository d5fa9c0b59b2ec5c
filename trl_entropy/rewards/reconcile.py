r"""Two answers brought to one spelling, each in the light of the other, and what the text alone tells apart."""

import re

from .normalise import normalise, parts
from .numbers import number
from .units import GLUED, contradict, is_word, letter_behind, without_text, without_words


_LABELLED = re.compile(
    r"(?:\\(?:text[a-z]*|mathrm|mathbf)\s*\{)?\s*(?:\(\s*(?P<round>[A-J])\s*\)|(?P<bare>[A-J])\s*[.):](?![A-Za-z\d]))"
    r"(?:\s|~|\}|\\[,;:! ]|\\q?quad|[.:])*(?P<rest>.*)",
    re.DOTALL,
)
_ONE_LETTER = re.compile(r"\(?\s*([A-Ja-j])\s*\)?|\\text\s*\{\s*\(?([A-Ja-j])\)?\s*\}")
_LETTERS = re.compile(r"[A-J](?:\s*(?:,|and(?![a-z]))?\s*[A-J])+")
_WORDS = re.compile(r"\\text\s*\{([A-Za-z' -]+)\}|([A-Za-z][A-Za-z' -]*)")
_COLUMN = re.compile(r"\\begin\{([a-zA-Z]*matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_BASED = re.compile(r"(\d+)_\{?(\d+)\}?", re.ASCII)


def reconcile(gold: str, answer: str) -> tuple[str, str] | None:
    r"""Both texts as they are to be compared, or None where their texts alone say that they differ.

    Each is normalised; a label of multiple choice, a unit, a column for a pair are taken off where only one has them.
    They differ by text: two labels, two units of the table, two words, two bases, `\{1, 2\}` for `(1, 2)`.

    Example:
        >>> reconcile("A", r"\textbf{(A)}\ 5"), reconcile(r"5\text{ cm}", "5"), reconcile(r"\text{listen}", "silent")
        (('A', 'A'), ('5', '5'), None)
    """
    gold, answer = normalise(gold), normalise(answer)
    for step in (_labels, _units, _columns, _unlike):
        if gold == answer:
            break
        pair = step(gold, answer)
        if pair is None:
            return None
        gold, answer = pair
    return gold, answer


def _labels(gold: str, answer: str) -> tuple[str, str] | None:
    """Of `A: 12` the label where the other is one too, else the text behind it; of `A, C, D` the letters `ACD`."""
    letters = [_letters(text) for text in (gold, answer)]
    if None not in letters and letters[0] != letters[1]:
        return gold, answer
    if None not in letters:
        return "".join(letters[0] or ()), "".join(letters[0] or ())
    labels, rests = zip(*map(_label, (gold, answer)), strict=True)
    if labels[0] and labels[1]:
        return (labels[0], labels[1]) if labels[0] == labels[1] else None
    return (rests[0] or gold), (rests[1] or answer)


def _letters(text: str) -> list[str] | None:
    inside = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", text)
    inside = re.sub(r"\(\s*([A-J])\s*\)", r"\1", inside)
    return sorted(re.findall("[A-J]", inside)) if _LETTERS.fullmatch(inside) else None


def _label(text: str) -> tuple[str, str]:
    """Label and the text behind it, each empty if there is none."""
    one = _ONE_LETTER.fullmatch(text)
    if one is not None:
        return (one[1] or one[2]).upper(), ""
    match = _LABELLED.match(text)
    if match is None:
        return "", ""
    label, rest = match["round"] or match["bare"], match["rest"].strip()
    if match.end() - match.start() == len(text) and not rest:
        return label, label
    if match["round"] and text[match.start("rest") - 1] not in " ~}.:\\,;!":
        return "", ""  # (A)(B) and (A)x are products
    if rest.endswith("}") and rest.count("{") < rest.count("}"):
        rest = rest[:-1]
    return label, rest


def _units(gold: str, answer: str) -> tuple[str, str] | None:
    (first, in_text), (second, there) = (without_text(text) for text in (gold, answer))
    (first, bare), (second, also) = (without_words(text) for text in (first, second))
    units = (in_text or bare, there or also)
    (value, letter, apart), (other, its, stands) = letter_behind(first), letter_behind(second)
    if contradict(units[0] or letter, units[1] or its):
        return None
    if letter and number(second) and (apart or units[1] == letter):
        first = value
    elif its and number(first) and (stands or its in GLUED or units[0] == its):
        second = other
    return first, second


def _columns(gold: str, answer: str) -> tuple[str, str]:
    """A row or column as a tuple, where the other side is no matrix."""
    matches = [_COLUMN.fullmatch(text) for text in (gold, answer)]
    if (matches[0] is None) == (matches[1] is None):
        return gold, answer
    return tuple(map(_as_tuple, (gold, answer), matches))  # type: ignore[return-value]


def _as_tuple(text: str, match: re.Match[str] | None) -> str:
    if match is None or ("&" in match[2] and "\\\\" in match[2].strip().rstrip("\\")):
        return text
    entries = re.split(r"\\\\|&", match[2])
    return f"({', '.join(entry.strip() for entry in entries if entry.strip())})"


def _unlike(gold: str, answer: str) -> tuple[str, str] | None:
    words = [_word(text) for text in (gold, answer)]
    if words[0] and words[1] and (words[0][1] or words[1][1]):
        if words[0][0] == words[1][0]:
            return gold, gold
        if words[0][1]:
            return None
    bases = [_BASED.fullmatch(text) for text in (gold, answer)]
    if bases[0] and bases[1] and int(bases[0][2]) != int(bases[1][2]):
        return None
    if {_fence(gold), _fence(answer)} == {"set", "pair"}:
        return None
    return gold, answer


def _word(text: str) -> tuple[str, bool] | None:
    """Letters of a text of words, and whether it surely is one: a product of letters, `xyz`, is not."""
    match = _WORDS.fullmatch(text)
    if match is None:
        return None
    letters = re.sub("[^a-z]", "", (match[1] or match[2]).casefold())
    return letters, len(letters) > 1 if match[1] is not None else is_word(letters)


def _fence(text: str) -> str:
    r"""`set` of `\{1, 2\}`, `pair` of `(1, 2)`, else nothing. A set of one, even of one pair, is its element."""
    if text.startswith("\\{") and text.endswith("\\}"):
        return "set" if sum(1 for _ in parts(text[2:-2])) > 1 else ""
    if text.startswith("(") and text.endswith(")") and sum(1 for _ in parts(text)) == 1:
        return "pair" if sum(1 for _ in parts(text[1:-1])) > 1 else ""
    return ""
