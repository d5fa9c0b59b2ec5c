r"""What stands behind a value: a unit, in `\text{...}` or in bare letters, or a word that names what was counted."""

import re


_ALIASES = {
    "mm": "millimeter millimetre",
    "cm": "centimeter centimetre",
    "m": "meter metre",
    "km": "kilometer kilometre",
    "in": "inch inches inche",
    "ft": "foot feet",
    "yd": "yard",
    "mi": "mile",
    "mg": "milligram",
    "g": "gram gm",
    "kg": "kilogram",
    "lb": "lbs pound",
    "oz": "ounce",
    "ml": "mL milliliter millilitre",
    "l": "L liter litre",
    "gal": "gallon",
    "ms": "millisecond",
    "s": "sec second",
    "min": "minute",
    "h": "hr hour",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "yr": "year",
    "cent": "cents",
    "dollar": "USD",
    "degree": "deg",
    "rad": "radian",
}
_CANONICAL = {word: unit for unit, words in _ALIASES.items() for word in (unit, *words.split())}
_OTHERS = (
    "mph kmh kmph Hz kHz MHz GHz eV keV MeV GeV Pa kPa atm mol kJ kW MW nm rpm ohm acre hectare unit euro rupee ton "
    "tonne watt volt joule newton square sq cubic cu Celsius Fahrenheit per"
)
_UNITS = frozenset([*_CANONICAL, *_OTHERS.split()])
GLUED = frozenset("mshgl")  # `5m` and `10s` are lengths and times; `3t` and `2d` are products
_LETTERS = GLUED | frozenset("cdtLANJKVWCF")
_MATHEMATICAL = (
    "or and pi mod over plus minus times base choose to squared cubed factorial infinity if when where for none all "
    "real integer odd even sqrt in sin cos tan cot sec csc log ln exp max lim arcsin arccos arctan sinh cosh"
)
_NOT_UNITS = frozenset(_MATHEMATICAL.split())
_PLAIN = (
    r"[+-]?\s*(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+|\s*\\[dt]?frac\s*(?:\d\d|\{\d+\}\{\d+\}))?"
    r"(?:\s*(?:\\times|\\cdot)\s*10\^\{?-?\d+\}?)?|[+-]?\s*\\[dt]?frac\s*(?:\d\d|\{\d+\}\s*\{\d+\})"
)
_POWER = r"(?:\s*\^\s*(?:\d|\{\s*-?\d+\s*\}))?"
_WORDY = r"\\(?:text[a-z]*|mathrm|mathit|mbox|operatorname)\s*\{[^{}]*\}"
_IN_TEXT = re.compile(
    rf"(?:[\s~/]|\\[,;:! ]|\\cdot|\\times)*(?P<unit>{_WORDY}|\\frac\s*\{{\s*{_WORDY}{_POWER}\s*\}}\s*"
    rf"\{{\s*{_WORDY}{_POWER}\s*\}}){_POWER}\s*$"
)
_DEGREES = re.compile(r"\s*\^\s*\\circ\s*(?:\\?(?:text|mathrm|rm)?\s*\{?\s*[CFK]\s*\}?)?\s*$")
_COUNTED = re.compile(
    rf"(?P<value>{_PLAIN})(?P<space>(?:\s|~|\\[,;:! ])*)(?P<unit>[A-Za-z][A-Za-z'-]*(?:[ -][A-Za-z'-]+){{0,5}}"
    rf"|[A-Za-z]+{_POWER}(?:\s*/\s*[A-Za-z]+{_POWER})?)",
    re.ASCII,
)
_BEHIND = re.compile(rf"(?<=[\d}}\s)])\s*(?P<unit>[A-Za-z]{{2,12}}){_POWER}\s*$")
_OPEN = re.compile(r"(?:[,;=+\-(<>{^_]|\\(?:in|to|cup|cap|pm|mp|le|ge|ne))\s*\Z")
_WINDOW = 120


def without_text(text: str) -> tuple[str, str]:
    r"""The value and what its trailing `\text{...}` say, one after the other; a sign of degrees goes too.

    Example:
        >>> without_text(r"5\,\text{m}\,\text{s}^{-1}"), without_text(r"\text{Sunday}"), without_text(r"30^\circ")
        (('5', 'm s'), ('\\text{Sunday}', ''), ('30', ''))
    """
    units: list[str] = []
    while True:
        match = _IN_TEXT.search(text, max(0, len(text) - _WINDOW)) or _DEGREES.search(text, max(0, len(text) - 40))
        if match is None or not text[: match.start()].strip() or _OPEN.search(text, 0, match.start()):
            return text, " ".join(reversed(units))
        if "unit" in match.groupdict():
            words = re.sub(r"\\[a-z]+|[{}]", " ", match["unit"])
            units.append(" ".join(words.split()))
        text = text[: match.start()].rstrip()


def without_words(text: str) -> tuple[str, str]:
    """The value and the bare words behind it: any words behind a plain number, units behind a formula.

    A single letter is left, since it may be a factor: `2m` is twice m. See `letter_behind`.

    Example:
        >>> without_words("5 apples"), without_words("12 km/h"), without_words("2ab"), without_words("3t")
        (('5', 'apples'), ('12', 'km/h'), ('2ab', ''), ('3t', ''))
    """
    match = _COUNTED.fullmatch(text)
    if match is not None:
        words = re.findall(r"[A-Za-z]+", match["unit"])
        known = all(word in _CANONICAL or _singular(word) in _UNITS for word in words)
        if "/" in match["unit"] or "^" in match["unit"]:
            taken = known
        elif len(words) == 1 and len(words[0]) == 1:
            taken = False
        elif match["space"] or known:
            spoken = any(map(is_word, words)) and min(map(len, words)) > 1
            taken = known or (spoken and not _NOT_UNITS.intersection(word.lower() for word in words))
        else:
            taken = words[0] in ("st", "nd", "rd", "th") and len(words) == 1
        if taken:
            return match["value"].strip(), match["unit"]
    match = _BEHIND.search(text, max(0, len(text) - _WINDOW))
    if match is not None and match["unit"] not in _NOT_UNITS and _singular(match["unit"]) in _UNITS:
        return text[: match.start()].rstrip(), match["unit"]
    return text, ""


def letter_behind(text: str) -> tuple[str, str, bool]:
    """`("5", "m", True)` of `5 m`: the number, the one letter behind it, whether it stands apart; else empty."""
    match = _COUNTED.fullmatch(text)
    if match is None or match["unit"] not in _LETTERS:
        return "", "", False
    return match["value"].strip(), match["unit"], bool(match["space"])


def is_word(letters: str) -> bool:
    """Whether bare letters are surely a word and no product: three or more, with a vowel, not in their order."""
    vowel = any(character in "aeiou" for character in letters.lower())
    return len(letters) > 2 and vowel and letters.lower() != "".join(sorted(letters.lower()))


def contradict(first: str, second: str) -> bool:
    """Whether two units are known and not the same; powers and what is not in the table do not count."""
    names = [_CANONICAL.get(name) or _CANONICAL.get(_singular(name)) for name in (_base(first), _base(second))]
    return None not in names and names[0] != names[1]


def _base(unit: str) -> str:
    return re.sub(r"^(?:square|cubic|sq\.?|cu\.?)\s+|[.^{}\d\s]+$", "", unit.strip())


def _singular(word: str) -> str:
    return word if word in _UNITS or not word.endswith("s") else word[:-1]
