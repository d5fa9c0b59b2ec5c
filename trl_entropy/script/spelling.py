"""The known word that a mistyped one is most like."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with the known word that is most like this one, or nothing. Case, `-`, `_` and spaces count little.

    Example:
        >>> did_you_mean("drgrpo", ["grpo", "dr_grpo"]), did_you_mean("x", ["grpo"])
        (" Did you mean 'dr_grpo'?", '')
    """
    names = {plain(name): name for name in known}
    close = difflib.get_close_matches(plain(word), names, n=1)
    return f" Did you mean {names[close[0]]!r}?" if close else ""


def known_word(word: str, known: Iterable[str], what: str) -> str:
    """The known word that is meant, in any spelling: `KL-Cov` is `kl_cov`, and plain GRPO is `plain` and `grpo`.

    Args:
        word: what was typed.
        known: what there is.
        what: what they are, for the error: "a method".

    Raises:
        ValueError: where it is none of them; with those, and the one that is most like it.
    """
    names = {_meant(name): name for name in known}
    if _meant(word) not in names:
        raise ValueError(
            f"{word!r} is not {what}.{did_you_mean(word, names.values())} There are: {', '.join(names.values())}."
        )
    return names[_meant(word)]


def _meant(word: str) -> str:
    return {"plain": "grpo", "plaingrpo": "grpo", "bonus": "naivebonus"}.get(plain(word), plain(word))


def plain(word: str) -> str:
    """A word in lower case, letters and digits only: `KL-Cov` and `kl_cov` are one."""
    return "".join(letter for letter in word.lower() if letter.isalnum())
