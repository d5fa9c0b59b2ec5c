"""From a completion to the text of its final answer. Linear time whatever the text; no parsing of mathematics."""

import re


MAX_ANSWER_CHARS = 2_000
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(\{|[0-9A-Za-z])")
_BETWEEN_BOXES = re.compile(r"[\s$.,;]*(?:\\text\s*\{)?\s*(?:,|;|and|or)\s*\}?[\s$,;]*")
_STATED = re.compile(r"answer\s*(?:is|:|=)|####", re.IGNORECASE)
_MATH_SPAN = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_PLAIN = r"-?\$?\s?\d+(?:,\d+)*(?:\.\d+)?(?:\s*/\s*\d+)?(?:\s*\\?%)?"
_NUMBERS = re.compile(rf"{_PLAIN}(?:(?:\s*[,;]\s+(?:(?:and|or)\s+)?|\s+(?:and|or)\s+){_PLAIN})*")
_SEPARATOR = re.compile(r"\s*[,;]\s+(?:(?:and|or)\s+)?|\s+(?:and|or)\s+")
# What may follow a number that is the whole answer: an end, a sentence's punctuation or markup, a word or unit. Not a
# power, an operator, a letter or a bracket that makes it part of a formula.
_AFTER_NUMBER = re.compile(
    r"\s*(?:$|[,;:!?\])}°\"'`|$–—](?!\w)|\.(?:\W|$)|\*{1,2}(?!\s*[\w(\\])|\*\*(?=\s)|</?[A-Za-z|]|\\\\)"
    r"|\s+(?:-\s+[A-Za-z]{2}|\([A-Za-z]{2}|(?!pi\b|sqrt|(?:times|plus|minus|over)\s+[\d\\(])[A-Za-z]{2}"
    r"|[A-Za-z](?:\s+[A-Za-z]|[\s.,;)]*$))"
)
_AFTERTHOUGHT = re.compile(r",\s+[A-Za-z]{3}|[,\s]\s*(?:because|since|which|where|when|so)\b")
_BOXES_TRIED = 16
_TAIL = 4_000


def extract_answer(text: str, require_box: bool = False) -> str | None:
    r"""Text of the final answer of a completion, None if it states none.

    1. The content of the last complete `\boxed{...}` (or `\fbox{...}`); boxes joined by a comma, "and" or "or" form
       one answer, so `\boxed{1} and \boxed{2}` gives `1, 2`. A box that never closes, or whose content is longer than
       2,000 characters, is no answer.
    2. Without any box, and unless `require_box`: what follows the last "answer is", "answer:" or "####" within the
       last 4,000 characters: its first formula between `$`, `\(` or `\[`, else a number or several ("1, 2 and 3" gives
       `1, 2, 3`) that no formula goes on from ("10^5" is one, "10 cm" is not), else the sentence.

    Args:
        text: the completion.
        require_box: accept step 1 only.

    Example:
        >>> extract_answer(r"First \boxed{3}. No: the answer is $\boxed{\frac{1}{2}}$.")
        '\\frac{1}{2}'
        >>> extract_answer("So the answer is $x = 4$.")
        'x = 4'
    """
    boxes = _last_boxes(text)
    if boxes:
        return ", ".join(boxes)
    if require_box or _BOX.search(text, max(0, len(text) - _TAIL)):
        return None  # a box was begun and never closed: the completion was cut inside its answer
    return _stated(text[-_TAIL:])


def _last_boxes(text: str) -> list[str]:
    end, found, right_edge = len(text), [], None
    for _ in range(_BOXES_TRIED):
        start = max(text.rfind("\\boxed", 0, end), text.rfind("\\fbox", 0, end))
        if start < 0:
            break
        end = start
        content = _box_at(text, start)
        if content is None:
            if found:
                break
            continue
        inside, stop = content
        if right_edge is not None and not _joined(text, stop, right_edge):
            break
        if inside.strip():
            found.insert(0, inside.strip())
        right_edge = start
    return found


def _joined(text: str, stop: int, right_edge: int) -> bool:
    return right_edge - stop <= 30 and _BETWEEN_BOXES.fullmatch(text, stop, right_edge) is not None


def _box_at(text: str, start: int) -> tuple[str, int] | None:
    match = _BOX.match(text, start)
    if match is None:
        return None
    if match.group(1) != "{":
        return match.group(1), match.end()
    depth, i = 1, match.end()
    limit = min(len(text), i + MAX_ANSWER_CHARS)
    while i < limit:
        character = text[i]
        if character == "\\":
            i += 1  # the next character is escaped: \{ opens nothing
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return text[match.end() : i], i + 1
        i += 1
    return None


def _stated(tail: str) -> str | None:
    matches = list(_STATED.finditer(tail))
    if not matches:
        return None
    rest = tail[matches[-1].end() : matches[-1].end() + 300].lstrip(" \t\n:*=")
    line = rest.split("\n", 1)[0]
    span = _MATH_SPAN.search(line)
    if span:
        return next(group for group in span.groups() if group).strip() or None
    numbers = _NUMBERS.match(line)
    if numbers:
        if _AFTER_NUMBER.match(line, numbers.end()):
            return ", ".join(_SEPARATOR.split(numbers.group().strip()))
        line = _AFTERTHOUGHT.split(line, maxsplit=1)[0]
    sentence = re.split(r"\.(?:\s|$)|\*\*", line, maxsplit=1)[0].strip()
    return sentence or None
