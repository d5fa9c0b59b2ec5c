"""What a text may say once it leaves this machine: no secret, no credentials in an address, no path, no prompt."""

import os
import re
from contextlib import suppress
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any


GONE = "REMOVED"
# Words of a key that make it a secret's, alone or beside others; and what makes a token or a key one
_SECRET = re.compile(
    r"secrets?|pass(word|wd|phrase)|pwd|auth|authorization|bearer|cookie|credentials?|sig|signature"
    r"|\w*(token|password|passwd|secret|apikey|accesskey|privatekey)"
)
_PASSWORD = re.compile(r"pass(word|wd|phrase)|pwd|secret")
_KEY_OF = re.compile(r"access|account|api|auth|encryption|private|secret|service|signing|ssh")
_TOKEN_OF = re.compile(r"access|api|auth|bearer|hf|hub|push|refresh|session|user")
# A key that ends in one of these holds what somebody wrote for the model, or the model wrote
_WRITTEN = re.compile(
    r"(prompt|completion|message|question|answer|gold|solution|response|text|sample|conversation)s?|template"
)
_NAMES = ("run", "source", "model", "benchmark", "method", "sign")  # the texts in a log's rows

_SHAPES = re.compile(
    r"""(?x) \bhf_(?=\w*[A-Z\d])\w{6,} | \bhf_[a-z]{14,} | \bapi_org_\w{16,}
    | \b(?:sk|rk|pk|glpat|xox[a-z]|glsa|nvapi|pypi|dckr_pat|npm|wandb_v\d)[-_](?=\S*\d)[\w-]{16,}
    | \b(?:hooks\.slack\.com/services|discord\w*\.com/api/webhooks)/\S+
    | \b(?:gh[a-z]|github_pat)_\w{16,} | \bA(?:KI|SI)A[A-Z\d]{16}\b | \bAIza[\w-]{30,}
    | \beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?
    | \bya29\.[\w-]{10,} | \bSG\.[\w-]{10,} | \bAGE-SECRET-KEY-\w+ | \btskey-[\w-]+ | \b\d{8,10}:AA[\w-]{30,}
    | -----BEGIN[ ][^-]*KEY[^-]*-----[\s\S]*?(?:-----END[^-]*-----|\Z)
    | \b[Bb]earer\s+[\w.+/=~-]{8,} | \b[Bb]asic\s+(?=\S*[\d=])[\w+/=]{8,}"""
)
_RANDOM = re.compile(  # 28 letters of three kinds in a row, 38 where slashes count (AWS), 32 of a hexadecimal number
    r"""(?x) (?<![\w+/.-]) (?:
    (?=[a-zA-Z\d+]*\d)(?=[a-zA-Z\d+]*[A-Z])(?=[a-zA-Z\d+]*[a-z])[A-Za-z\d+]{28,}={0,2}
    | (?=[\w+/]*\d)(?=[\w+/]*[A-Z])(?=[\w+/]*[a-z])[A-Za-z\d+/]{38,}
    | (?=[\da-f]*\d)(?=\d*[a-f])[\da-f]{32,} ) (?![\w+/])"""
)
_NOT_RANDOM = re.compile(r"commit|revision|sha|hash|checksum|digest|fingerprint|@", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"""(\b[A-Za-z][\w+.-]*://)(?:[^\s/?#"'<>]*|[^\s/@:]+:(?!\d+/)[^\s@"'<>]*)@|\b(?!mailto:)[\w.-]+:[^\s@/:"']+@(?=\w)"""
)
_ASSIGNED = re.compile(
    r"""(?x) (--)?((?i:[\w-]*(?:token|secret|passw|passphrase|pwd|key|auth|bearer|cookie|credential|sig)[\w-]*))
    ( ["'`]?[ ]*[=:|][ ]*["'`]? | (?(1)[ ]+|(?!)) )
    ((?:[Bb]earer[ ]|[Bb]asic[ ]|[Tt]oken[ ])?[^\s"'`,;&|<>(){}\[\]]{4,})"""
)
_HOME = re.compile(
    r"""(?x) (?<![\w.][\w.])/(?:home|Users)/[^\s/"'<>|,;:()\[\]{}\\`]+
    | \b[A-Za-z]:[\\/]+Users[\\/]+[^\s\\/"'<>|]+"""
)
_PATH = re.compile(
    r"""(?x) (?: (?: \b\w+:/{3,} | (?<![\w/.:<~])/+ | (?<=:)/(?!/) | \b[A-Za-z]:[\\/]+ ) [^\s\\/"'<>|,;:()\[\]{}`]+
    | (?<![\w/.<~])~[\w.-]* ) [\\/]+ (?: [^\s\\/"'<>|,;:()\[\]{}`]+ [\\/]+ )* [^\s\\/"'<>|,;:()\[\]{}`]*"""
)
_WHOLE_PATH = re.compile(r"(?:\w+:/{2,})?(?:/|~[\w.-]*/|[A-Za-z]:[\\/]|\\\\)[^\\/]+[\\/]+[^\\/].*")


class Cleaner:
    """Cleans texts and JSON values that stem from one run.

    Args:
        folder: the run's folder. It, the home folder, and the secrets of this process (its environment, the Hub's
            token, `.netrc`) are taken out wherever they stand; the rest goes by its look.
    """

    def __init__(self, folder: Path):
        self.secrets = sorted(_secrets_here(), key=len, reverse=True)
        places = {str(path): path.name for path in (folder.absolute(), folder.resolve())}
        places |= {str(path): "~" for path in (Path.home(), Path.home().resolve()) if len(path.parts) > 1}
        known = sorted(places, key=len, reverse=True)
        self._places = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, known))})(?!\w)")
        self._named = places

    def is_safe(self, data: bytes) -> bool:
        """Whether data that must stay as they are, such as a vocabulary, hold no secret or place of this machine."""
        text = data.decode("utf-8", "ignore")
        known = any(secret in text for secret in self.secrets) or self._places.search(text)
        return not known and not re.search(r"\bhf_[A-Za-z\d]{20,}|\bgithub_pat_|-----BEGIN [A-Z ]*KEY", text)

    def text(self, text: str, key: str = "", paths: bool = True) -> str:
        """A text without secrets, places of this machine and, with `paths`, any absolute path.

        The key that it stands under tells a revision's long number from a secret.

        Example:
            >>> Cleaner(Path("run")).text("/data/models/base at https://me:word@host/x")
            'base at https://host/x'
        """
        for secret in self.secrets:
            text = text.replace(secret, GONE)
        text = _CREDENTIALS.sub(lambda match: match[1] or "", _SHAPES.sub(GONE, text))
        text = _ASSIGNED.sub(lambda m: m[0][: m.start(4) - m.start()] + GONE if _assigns_secret(m) else m[0], text)
        text = _HOME.sub("~", self._places.sub(lambda match: self._named[match[0]], text))
        if paths:
            text = _PATH.sub(lambda match: _last(match[0]), text)
        return _RANDOM.sub(lambda m: m[0] if _NOT_RANDOM.search((key + " " + text[: m.start()])[-40:]) else GONE, text)

    def value(self, value: Any, key: str = "", record: bool = True) -> Any:
        """A JSON value without secrets, local paths and, in a record, what somebody wrote.

        A record describes the run; else the value is part of the model, whose templates and tokens stay.

        Example:
            >>> Cleaner(Path("run")).value({"model": "/data/base", "accessToken": "x", "prompt": "a / b", "n": [8]})
            {'model': 'base', 'n': [8]}
        """
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if not _is_private(k, v, record)}
            return {self.text(k, paths=record): self.value(v, k, record) for k, v in kept.items()}
        if isinstance(value, list):
            after_flag = (False, *(isinstance(v, str) and v[:1] == "-" and is_secret(v) for v in value))
            return [GONE if hide else self.value(v, key, record) for v, hide in zip(value, after_flag, strict=False)]
        if not isinstance(value, str):
            return value
        if record and (len(value) > 200 or "\n" in value):  # no setting, and nobody knows what
            return GONE
        several = len(re.findall(r"[\\/]+[^\\/]", value)) > 1 and not re.search(r" /|/ ", value)
        if several and _WHOLE_PATH.fullmatch(value):
            value = "~" if _HOME.fullmatch(value) or value == str(Path.home()) else _last(value)
        return self.text(value, key, paths=record)

    def row(self, value: Any, key: str = "") -> Any:
        """A line of a log: numbers, and the names they go by; every other text is null."""
        if isinstance(value, dict):
            return {self.text(k): self.row(v, k) for k, v in value.items() if not _is_private(k, v, True)}
        if isinstance(value, list):
            return [self.row(item, key) for item in value]
        return (self.value(value) if key in _NAMES else None) if isinstance(value, str) else value


def is_secret(name: str, record: bool = True) -> bool:
    """Whether a key of this name holds a secret: `accessToken`, `--api_key`, `WANDB_API_KEY`; not `max_tokens`.

    In a record a plain `key` is one, in a model's files it is not.
    """
    words = _words(name)
    return _any(_SECRET, words) or ("key" in words and (record or _any(_KEY_OF, words)))


def _is_private(key: str, value: Any, record: bool) -> bool:
    if value is None or isinstance(value, bool | float):
        return False
    words = _words(key)
    if isinstance(value, int):
        return _any(_PASSWORD, words)
    if record and _any(_WRITTEN, words[-1:]) and not isinstance(value, dict):
        return True
    if record or "token" not in words:
        return is_secret(key, record)
    # A model's own: eos_token, image_token, and so on
    if not isinstance(value, str) or re.search(r"[<>\[\]|]", value):
        return False
    return words == ["token"] or _any(_TOKEN_OF, words) or bool(re.search(r"\d", value))


def _any(pattern: re.Pattern, words: list[str]) -> bool:
    return any(map(pattern.fullmatch, words))


def _assigns_secret(match: re.Match) -> bool:
    words, value = _words(match[2]), match[4]
    prose = len(words) == 1 and not _any(_PASSWORD, words) and value.isalpha() and value.islower()  # "a token: all"
    number = value.replace(".", "").isdigit() and not _any(_PASSWORD, words)
    return is_secret(match[2], record=False) and not prose and not number


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _last(path: str) -> str:
    return re.split(r"[\\/]+", path.rstrip("\\/"))[-1]


def _secrets_here() -> set[str]:
    from huggingface_hub import get_token

    found = {value for name, value in os.environ.items() if is_secret(name, record=False)} | {get_token() or ""}
    with suppress(OSError, NetrcParseError):
        found |= {entry[2] or "" for entry in netrc().hosts.values()}
    return {secret for secret in found if len(secret) >= 7 and not secret.startswith("/")}
