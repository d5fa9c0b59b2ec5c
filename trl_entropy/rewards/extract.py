"""From a completion to the text of its final answer. Linear time whatever the text; no parsing of mathematics."""

import re


MAX_ANSWER_CHARS = 2_000
_THOUGHT_ENDS = re.compile(r"</(?:think(?:ing)?|thought|reasoning)>|\[/THINK\]|<\|end_of_thought\|>|◁/think▷", re.I)
_THOUGHT_BEGINS = re.compile(r"<(?:think(?:ing)?|thought|reasoning)>|\[THINK\]|<\|begin_of_thought\|>|◁think▷", re.I)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(\{|[0-9A-Za-z])")
_MAYBE = r"(?:(?:maybe|perhaps|possibly|probably|even|else|also|alternatively|rather)\s+)?"
_NAMED = r"(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
_BETWEEN_BOXES = re.compile(
    rf"[\s$.,;*]*(?:\\text\s*\{{)?\s*(?:,|;|and|or|\\quad|\\lor|\\vee)\s*{_MAYBE}\}}?[\s$,;*]*{_NAMED}"
)
_LABEL = re.compile(
    r"(?:^|(?<=\n))[#>*_ \t]{0,12}(?:the\s+)?(?:final\s+)?answers?[*_: \t]*\n(?!\s*(?:is|are|was)(?![A-Za-z]))"
    r"|(?<![A-Za-z])answers?[*_`]{0,3}(?:\s*[:=：]"
    r"|(?:\s+(?:to|for|of|in)\s[^.:?!\n]{1,100}?|,\s[^.:?!,\n]{1,40},)?\s+(?:is|are|was|equals|(?:would|should|will|must)\s+be"
    r"|comes?\s+(?:out\s+)?to)(?![A-Za-z])(?!\s+(?:not|neither)(?![A-Za-z])))"
    r"|####(?!#)(?!\s*(?:the\s+)?(?:final\s+)?answer)"
    r"|答案\s*(?:应该?|應該?)?(?:[是为為]|等[于於])?\s*[:：]?|答え?\s*(?:は|[:：])|(?:정답|답)\s*(?:은|는|[:：])"
    r"|(?<!\w)(?:respuesta|resposta|risposta|réponse|antwort|ответ)(?:\s+final[ea]?)?\s*(?:[:：]|(?:es|é|è|est|ist|lautet)(?!\w))",
    re.IGNORECASE,
)
_FILLER = re.compile(
    r"(?:(?:(?:therefore|thus|then|hence|simply|just|exactly|precisely|indeed|clearly|approximately|approx\.?|about"
    r"|roughly|around|nearly|equal\s+to|given\s+by|(?:as\s+|the\s+)?follow(?:s|ing)|either|both|option|choice)"
    r"(?![A-Za-z])|约|大约)[\s,:*=]*)+",
    re.IGNORECASE,
)
_DISPLAY = "(?:equation|align|gather|displaymath|math|multline)"
_SPAN = (
    r"\$\$(.+?)\$\$|\$([^$\n]+)\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]|```(?:[a-z]*\n)?([^`]+)```|`([^`\n]+)`"
    rf"|\\begin\{{{_DISPLAY}\*?\}}(.+?)\\end\{{{_DISPLAY}\*?\}}"
)
_MATH_SPAN = re.compile(_SPAN, re.DOTALL)
_PLAIN = r"-?\$?\s?\d+(?:,\d+)*(?:\.\d+)?(?:\s*/\s*\d+)?(?:\s*\\?%)?"
_NUMBER = re.compile(_PLAIN)
_SEPARATOR = re.compile(rf"(?:\s*[,;]\s+(?:(?:and|or)\s+)?|\s*\(?\s*(?<![A-Za-z])(?:and|or)\s+|、){_MAYBE}{_NAMED}")
_OR = re.compile(r"[\s,$*]*\(?\s*(?<![A-Za-z])or(?![A-Za-z])(?!\s+(?:so|equivalently|simply|in\s+other)(?![A-Za-z]))")
_OR_VALUE = re.compile(rf"[\s,$*]*(?:\\text\s*\{{)?\s*or\s+{_MAYBE}\}}?[\s$]*{_NAMED}({_PLAIN})(?![\w^])")
_VALUE_OR = re.compile(rf"(?<![\w.^/])({_PLAIN})[\s,$*]*(?:\\text\s*\{{)?\s*or\s+{_MAYBE}\}}?[\s$*]*{_NAMED}\Z")
# What may follow a number that is the whole answer: an end, a sentence's punctuation or markup, a word or unit. Not a
# power, an operator, a letter or a bracket that makes it part of a formula.
_AFTER_NUMBER = re.compile(
    r"\s*(?:$|[,;:!?\])}°\"'`|–—](?!\w)|\.(?:\W|$)|\*{1,2}(?!\s*[\w(\\])|\*\*(?=\s)|</?[A-Za-z|]|\\\\)"
    r"|\s+(?:-\s+[A-Za-z]{2}|\([A-Za-z]{2}|(?!pi\b|sqrt|(?:times|plus|minus|over)\s+[\d\\(])[A-Za-z]{2}"
    r"|[A-Za-z](?:\s+[A-Za-z]|[\s.,;)]*$))"
)
_AFTERTHOUGHT = re.compile(r",\s+[A-Za-z]{3}|[,\s]\s*(?:because|since|which|where|when|so)\b")
_LIST_ENDS = re.compile(r"\s*(?:$|[.!?,;:)\n]|\*\*|</)")
_BULLETS = re.compile(r"[\s:*=_]*\n\s*((?:[-•+*][ \t]+[^\n]+(?:\n|$))+)")
_BULLET = re.compile(r"(?:^|(?<=\n))[ \t]*[-•+*][ \t]+")
_BOXES_TRIED = 16
_TAIL = 4_000


def extract_answer(text: str, require_box: bool = False) -> str | None:
    r"""Text of the final answer of a completion, None if it states none.

    Where the completion thinks, in `<think>...</think>` or a like tag, only what follows the thought counts: a thought
    that was withdrawn or cut off is no answer.

    1. The content of the last complete `\boxed{...}` (or `\fbox{...}`); boxes joined by a comma, "and" or "or" form
       one answer, so `\boxed{1} and \boxed{2}` gives `1, 2`, and so do `\boxed{1} or 2`, `1 or \boxed{2}`. A box that
       never closes, or whose content is longer than 2,000 characters, is no answer.
    2. Without any box, and unless `require_box`, which ends here: the content of the last `<answer>...</answer>`.
    3. Else what follows the last label ("answer is", "Answer:", a heading "Answer", "####", "答案") within the last
       4,000 characters: its first formulas between `$`, `\(`, `\[`, backquotes or `\begin{equation}`, else its first
       numbers ("1, 2 and 3" gives `1, 2, 3`) that no formula goes on from ("10^5" is one, "10 cm" is not), else the
       sentence. What is hedged, "3 or x", is never less than the whole hedge.

    Example:
        >>> extract_answer(r"First \boxed{3}. No: the answer is $\boxed{\frac{1}{2}}$.")
        '\\frac{1}{2}'
        >>> extract_answer("So the answer is $x = 4$.")
        'x = 4'
    """
    text = _outside_thoughts(text)
    boxes = _last_boxes(text)
    if boxes:
        return ", ".join(boxes)
    if require_box or _BOX.search(text, max(0, len(text) - _TAIL)):
        return None  # a box was begun and never closed: the completion was cut inside its answer
    tag = text.rfind("<answer>", max(0, len(text) - _TAIL))
    if tag >= 0:
        inside = text[tag + len("<answer>") :].partition("</answer>")[0]
        return stated_answer(inside) or _value(inside)
    return stated_answer(text)


def _outside_thoughts(text: str) -> str:
    if "<" not in text and "THINK]" not in text and "◁" not in text:
        return text
    start = 0
    for end in _THOUGHT_ENDS.finditer(text):
        start = end.end()
    cut = _THOUGHT_BEGINS.search(text, start)
    return text[start : cut.start() if cut else None]


def _last_boxes(text: str) -> list[str]:
    end, found, right_edge, right_end = len(text), [], None, 0
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
        right_edge, right_end = start, right_end or stop
    if found and right_edge is not None:
        before = _VALUE_OR.search(text[max(0, right_edge - 60) : right_edge])
        after = _OR_VALUE.match(text[right_end : right_end + 60])
        found = [*([before[1]] if before else []), *found, *([after[1]] if after else [])]
    return found


def _joined(text: str, stop: int, right_edge: int) -> bool:
    return right_edge - stop <= 40 and _BETWEEN_BOXES.fullmatch(text, stop, right_edge) is not None


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


def stated_answer(text: str) -> str | None:
    """What follows the last label of an answer in the last 4,000 characters, None without one."""
    tail = text[-_TAIL:]
    labels = list(_LABEL.finditer(tail))
    return _value(tail[labels[-1].end() - labels[-1].group().endswith("\n") :]) if labels else None


def _value(text: str) -> str | None:
    """The answer at the beginning of a text."""
    bullets = _BULLETS.match(text[:1_200])
    if bullets:
        entries = _BULLET.split(bullets[1])
        return ", ".join(value for entry in entries if (value := _value(entry.strip()))) or None
    rest = text[:600].lstrip(" \t\r\n:*=_：")
    filler = _FILLER.match(rest)
    rest = rest[filler.end() :] if filler else rest
    line = rest.split("\n", 1)[0]
    number, span = _NUMBER.match(line), _MATH_SPAN.search(rest)
    if span and span.start() >= max(len(line), 1):
        if line.rstrip("* ").endswith(":"):  # "The answer is what follows:", and a formula on lines of its own
            return _value(rest[len(line) :])
        span = None
    touching = number and span and 0 < span.start() <= number.end() + 1  # 2 $\sqrt3$
    if number and not touching and not (span and span.start() == 0) and _AFTER_NUMBER.match(line, number.end()):
        return _listed(rest, line, number)
    if span and not touching:
        return _listed(rest, line, span)
    if number:
        line = _AFTERTHOUGHT.split(line, maxsplit=1)[0]
    return re.split(r"\.(?:\s|$)|\*\*|</", line, maxsplit=1)[0].replace("$", "" if touching else "$").strip() or None


def _listed(rest: str, line: str, first: re.Match[str]) -> str | None:
    """The first value and those joined to it by a comma, "and" or "or"; the whole sentence, where "or" leads on."""
    values, end, joined_by_or = [_content(first)], first.end(), False
    while (separator := _SEPARATOR.match(rest, end)) is not None:
        other = _MATH_SPAN.match(rest, separator.end()) or _NUMBER.match(line, separator.end())
        if other is None or (other.re is _NUMBER and not _AFTER_NUMBER.match(line, other.end())):
            break
        values.append(_content(other))
        end, joined_by_or = other.end(), joined_by_or or "or" in separator.group()
    if _OR.match(rest, end):
        return re.split(r"\.(?:\s|$)", line, maxsplit=1)[0].replace("$", "").strip()
    if first.re is _MATH_SPAN and not joined_by_or and not _LIST_ENDS.match(rest, end):
        values = values[:1]  # "$4$ and $x = 2$ is where it is taken"
    return ", ".join(filter(None, values)) or None


def _content(value: re.Match[str]) -> str:
    return next(filter(None, value.groups()), value.group()).replace("&", "").strip()
