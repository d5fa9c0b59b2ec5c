"""The known word that a mistyped one is most like."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with the known word that is most like this one, or nothing. Case, `-`, `_` and spaces count little.

    Example:
        >>> did_you_mean("drgrpo", ["grpo", "dr_grpo"]), did_you_mean("x", ["grpo"])
        (" Did you mean 'dr_grpo'?", '')
    """
    plain = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(word), plain, n=1)
    return f" Did you mean {plain[close[0]]!r}?" if close else ""


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())
