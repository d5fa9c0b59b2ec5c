r"""One spelling for what is written in many ways: text to text, in linear time, before any parser sees an answer."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache

from .extract import MAX_ANSWER_CHARS


_ALPHABET = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho - sigma tau upsilon phi "
    "chi psi omega"
)
_GREEK = _ALPHABET.split()
_COMMANDS = "times div infty emptyset le ge ne approx pm mp to cup cap in notin ldots"
_SIGNS = str.maketrans(
    {
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
        **{chr(0x3B1 + i): f"\\{name} " for i, name in enumerate(_GREEK) if name not in ("-", "omicron")},
        **{chr(0x391 + i): f"\\{_GREEK[i].title()} " for i in (2, 3, 7, 10, 13, 15, 18, 21, 23, 24)},
        **dict.fromkeys("−–—‒‐‑﹣", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff€£¥₹₩₽₪￡￥", ""),
        **dict.fromkeys("°º˚", "^\\circ "),
        **dict.fromkeys("⁄∕", "/"),
        **dict.fromkeys("·⋅∙•", "\\cdot "),
        **dict.fromkeys("’′", "'"),
        **dict(zip("×÷∞∅≤≥≠≈±∓→∪∩∈∉…", (f"\\{name} " for name in _COMMANDS.split()), strict=True)),
        **dict(zip("℃℉。、", ("^\\circ C", "^\\circ F", ".", ","), strict=True)),
        **{letter: f"\\mathbb{{{name}}}" for letter, name in zip("ℝℤℕℚℂ", "RZNQC", strict=True)},
    }
)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ", "₀₁₂₃₄₅₆₇₈₉₊₋ₙ"
_TEXT = r"\\(?:text[a-z]*|mathrm|mathit|mbox|operatorname)"
_POWERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALES = "|".join(_POWERS)


def _plain_form(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group()).replace("−", "-")


def _fraction(match: re.Match[str]) -> str:
    above, _, below = _plain_form(match).partition("⁄")
    return f"\\frac{{{above}}}{{{below}}}"


def _power_of_ten(match: re.Match[str]) -> str:
    return f"{match.group(1)} \\times 10^{{{int(match.group(2))}}}"


def _scale(match: re.Match[str]) -> str:
    rest = (match.group(2) or "").strip()
    return f" \\times 10^{{{_POWERS[match.group(1).lower()]}}}" + (f"\\text{{ {rest}}}" if rest else "")


def _repeating(match: re.Match[str]) -> str:
    whole, start, cycle = match.groups()
    nines = 10 ** len(start) * (10 ** len(cycle) - 1)
    value = Fraction(int(whole + start + cycle) - int(whole + start), nines)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _interval(match: re.Match[str]) -> str:
    left, inside, right = match.groups()
    return f"{'(' if left == ']' else '['}{inside}{')' if right == '[' else ']'}"


# In their order. Each pattern is linear: what it repeats excludes what follows.
_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\\(?:color|pagecolor)\s*(?:\[[^\[\]{}]*\])?\{[^{}]*\}"), ""),
    (re.compile(r"\\(?:displaystyle|textstyle|scriptstyle|[lL]arge|LARGE|[hH]uge|bf|it|rm|sf)(?![A-Za-z])\s*"), ""),
    (re.compile(r"\\(?:left|right)(?=\\?[\[\](){}|])"), ""),
    (re.compile(r"\\(?:euro|pounds?|yen)(?![A-Za-z])\s*|\\?\$|(?:US|USD|EUR|GBP|Rs\.?)\s*(?=\d)"), ""),
    (re.compile(r"\\text\s*\{\s*\}"), ""),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(frac|binom)\s*(\d)\s*(\d)"), r"\\\1{\2}{\3}"),
    (re.compile(r"(?<=:\d\d)\s*([aApP])\.?\s?[mM](?![A-Za-z])\.?"), r"\\text{ \1m}"),
    (re.compile(r"\\(?:varnothing|O(?![A-Za-z]))"), r"\\emptyset"),
    (re.compile(r"\\degree(?:s|Celsius)?(?![A-Za-z])"), r"^\\circ "),
    (re.compile(r"(?:\{\s*\})?\^\s*\{\s*\\circ\s*\}"), r"^\\circ "),
    (re.compile(r"∛\s*(\d+|[A-Za-z]|(?=\{))"), r"\\sqrt[3]{\1}"),
    (re.compile(r"√\s*\{"), r"\\sqrt{"),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*(\d+(?:\.\d+)?|\\?[A-Za-z]+)"), r"\\sqrt{\1}"),
    (re.compile(r"\\?(?<![A-Za-z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])sqrt\s*(\d+|[A-Za-z](?![A-Za-z]))"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])(pi|(?:arc)?(?:sin|cos|tan)h?|cot|csc|log|ln|exp)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(rf"{_TEXT}\s*\{{\s*([ei])\s*\}}"), r" \1 "),
    (re.compile(r"(?<=\d)i(?![A-Za-z])"), " i"),
    (re.compile(r"(?<![A-Za-z\\{])E(?=_)"), r"\\mathcal{E}"),
    (re.compile(r"\+\s*-(?=\s*[\d.])"), "-"),
    (re.compile(r"\*\*(?=\s*[\d({A-Za-z-])"), "^"),
    (re.compile(r"(?<=[\w)}\]])\s*\*\s*(?=[\w(\\{])"), r"\\cdot "),
    (re.compile(r"\^\s*(-\d+|\d{2,})"), r"^{\1}"),
    (re.compile(r"<=|\\leqslant(?![a-z])|\\leq(?![a-z])"), r"\\le "),
    (re.compile(r"(?<![=\\])>=|\\geqslant(?![a-z])|\\geq(?![a-z])"), r"\\ge "),
    (re.compile(rf"{_TEXT}\s*\{{\s*(?:per ?cent(?:age points?)?|pct|\\?%)\s*\}}|(?<!\\)%"), r"\\%"),
    (re.compile(r"(?<=[\d}\s])\s?per ?cent(?:age(?: points?)?)?(?![A-Za-z])"), r"\\%"),
    (re.compile(rf"{_TEXT}\s*\{{\s*({_SCALES})s?(?![A-Za-z])([^{{}}]*)\}}", re.IGNORECASE), _scale),
    (re.compile(rf"(?<=\d)\s+({_SCALES})s?(?![A-Za-z])(?=(\s|$))", re.IGNORECASE), _scale),
    (re.compile(r"(?<=\d)(?:\{,\}|\\[,!]|,\s*\\!)\s*(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<![\w.])(\d+(?:\.\d*)?|\.\d+)[eE]([+-]?\d{1,4})(?![\w.^])", re.ASCII), _power_of_ten),
    (re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)"), r" \\times "),
    (re.compile(r"(?<![\w.])(\d{1,40})\.(\d{0,40})\\(?:overline|bar|dot)\s*\{(\d{1,40})\}", re.ASCII), _repeating),
    (re.compile(r"\((\d+)\)(?=_)"), r"\1"),
    (re.compile(r"(?<![\d})])(\])([^\[\](),]+,[^\[\](),]+)([\[\]])"), _interval),
    (re.compile(r"(\[)([^\[\](),]+,[^\[\](),]+)(\[)"), _interval),
    (re.compile(r"(?<=[\d}])\s*(?![万億亿千百])[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]+\s*$"), ""),
)
_UNICODE_RULES = (
    (re.compile(f"[{_RAISED}]+"), lambda match: f"^{{{_plain_form(match)}}}"),
    (re.compile(f"[{_LOWERED}]+"), lambda match: f"_{{{_plain_form(match)}}}"),
    (re.compile("[¼-¾⅐-⅞]"), _fraction),
)
_DECORATION = re.compile(
    r"(?P<open>\\(?:underline|emph|mathbf|boldsymbol|bm|mathsf|boxed|fbox|ensuremath|"
    r"(?:textcolor|colorbox)\s*\{[^{}]*\})\s*\{)|\\.|[{}]",
    re.DOTALL,
)
_WHOLE_TEXT = re.compile(rf"{_TEXT}\s*\{{([^{{}}]*)\}}")
_MARKUP = re.compile(r"(\*\*|__|\*|_|`)(?=[^\s*_`])(.+)(?<=[^\s*_`])\1", re.DOTALL)
_GROUPED = re.compile(r"([+-]?\d{1,3})((?:(?: |\\ |~)\d{3})+)(\.\d+)?", re.ASCII)
_MIXED = re.compile(r"([+-]?\d+)\s+(\d+)\s*/\s*(\d+)(?!\d)", re.ASCII)
_LEADING = re.compile(
    r"(?:\s|=|~|\\[,;:! ]|\\text\s*\{\s*(?:final\s+)?[aA]nswer\s*:?\s*\}"
    r"|\\(?:approx|sim|simeq|therefore|quad)(?![A-Za-z]))+"
)


@lru_cache(maxsize=8192)
def normalise(text: str) -> str:
    r"""The same answer in plain LaTeX: signs of Unicode, decoration, emphasis, spelled powers of ten, stray stops.

    What it does not know it leaves alone, and so does it a text of more than 2,000 characters.

    Example:
        >>> normalise("2√3."), normalise("4.5e33"), normalise(r"\textcolor{red}{½}"), normalise("]0,1[")
        ('2\\sqrt{3}', '4.5 \\times 10^{33}', '\\frac{1}{2}', '(0,1)')
    """
    if len(text) > MAX_ANSWER_CHARS or (text.isascii() and text.isdigit()):
        return text
    if not text.isascii():
        for pattern, replacement in _UNICODE_RULES:
            text = pattern.sub(replacement, text)
        text = text.translate(_SIGNS)
    text = _trimmed(text)
    match = _MARKUP.fullmatch(text)
    text = _undecorated(match.group(2) if match else text)
    whole = _WHOLE_TEXT.fullmatch(text)
    if whole:
        inside = _trimmed(whole.group(1))
        text = f"\\text{{{inside}}}" if inside.replace(" ", "").isalpha() else inside
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = _trimmed(text)
    grouped = _GROUPED.fullmatch(text)
    if grouped:
        text = grouped.group(1) + re.sub(r"\D", "", grouped.group(2)) + (grouped.group(3) or "")
    return _signs_chosen(_MIXED.sub(r"\1\\frac{\2}{\3}", text, count=1) if _MIXED.match(text) else text)


def _trimmed(text: str) -> str:
    r"""Without the sentence's punctuation and the line breaks around it; `\right.` and `...` stay."""
    leading = _LEADING.match(text)
    text = text[leading.end() :] if leading else text
    while True:
        shorter = text.rstrip(" \t\r\n,;:\\~")
        if shorter.endswith(".") and not shorter.endswith(("..", "\\right.")):
            shorter = shorter[:-1]
        if shorter == text:
            return text
        text = shorter


def _undecorated(text: str) -> str:
    """Without commands that only colour or emphasise their argument, and without the braces of that argument."""
    kept, opened, last = [], [], 0
    for token in _DECORATION.finditer(text):
        word = token.group()
        if token["open"] or word == "{":
            opened.append(bool(token["open"]))
        if token["open"] or (word == "}" and opened and opened.pop()):
            kept.append(text[last : token.start()])
            last = token.end()
    return "".join([*kept, text[last:]]) if last else text


def _signs_chosen(text: str) -> str:
    r"""`\frac{1\pm\sqrt5}{2}` as both its values. A leading sign is left to the parser, which reads `\pm 3`."""
    if "\\pm" not in text and "\\mp" not in text:
        return text
    values = []
    for part in parts(text):
        if re.match(r"\s*\\pm|[^\\]*=\s*\\pm", part) or ("\\pm" not in part and "\\mp" not in part):
            values.append(part)
        else:
            values.append(part.replace("\\pm", "+").replace("\\mp", "-"))
            values.append(part.replace("\\pm", "-").replace("\\mp", "+"))
    return ", ".join(map(str.strip, values))


def parts(text: str) -> Iterator[str]:
    r"""The parts between the commas that no bracket, brace or `\{` encloses."""
    depth = last = 0
    for i, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[last:i]
            last = i + 1
    yield text[last:]
