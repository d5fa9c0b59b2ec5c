"""Which methods a run had on, from what it says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class MethodName(NamedTuple):
    """A method's key, the prefix of its arguments and logged metrics, and its name for people."""

    key: str
    name: str


PLAIN = MethodName("plain", "GRPO")

# Runs whose settings do not list their methods had these four at most. Switch, key, name.
_BEFORE_RUNS_NAMED_THEM = (
    ("siren_coef", "siren", "SIREN"),
    ("clip_cov_ratio", "clip_cov", "Clip-Cov"),
    ("kl_cov_ratio", "kl_cov", "KL-Cov"),
    ("entropy_coef", "bonus", "entropy bonus"),
)


def methods_of(settings: Mapping[str, Any]) -> tuple[MethodName, ...] | None:
    """The methods in a run's settings, in their order; None where nothing says.

    `methods` lists them; settings without that list have the switches in their `arguments`, or the keys joined by `+`
    in `method`.

    >>> methods_of({"methods": [{"key": "maxrl", "name": "MaxRL"}]})
    (MethodName(key='maxrl', name='MaxRL'),)
    >>> methods_of({"arguments": {"siren_coef": 0.01}})[0].name, methods_of({"arguments": {}}), methods_of({})
    ('SIREN', (), None)
    """
    listed, method, arguments = (settings.get(key) for key in ("methods", "method", "arguments"))
    if isinstance(listed, list):
        named = [m for m in listed if isinstance(m, dict) and m.get("key")]
        found = [MethodName(str(m["key"]), str(m.get("name") or m["key"])) for m in named]
        bonus = isinstance(arguments, dict) and (
            arguments.get("entropy_coef") or arguments.get("use_adaptive_entropy")
        )
        return (*found, *([MethodName("bonus", name_of("bonus"))] if bonus else []))  # TRL's own is none of ours
    if isinstance(method, str):
        keys = [] if method == PLAIN.key else method.split("+")
        return tuple(MethodName(key, name_of(key)) for key in keys) if method != "unknown" else None
    if isinstance(arguments, dict):
        return tuple(MethodName(key, name) for switch, key, name in _BEFORE_RUNS_NAMED_THEM if arguments.get(switch))
    return None


def name_of(key: str) -> str:
    """The name of a method that only its key is known of; the key itself where nothing else is known."""
    return {PLAIN.key: PLAIN.name, **{known: name for _, known, name in _BEFORE_RUNS_NAMED_THEM}}.get(key, key)
