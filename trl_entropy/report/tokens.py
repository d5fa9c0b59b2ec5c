"""The token maps of a report: chosen to fit its size, and packed for the page's script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..runlog.records import Run, is_number
from ..runlog.run_methods import PLAIN, name_of


NUMBERS = ("entropy", "nucleus_entropy", "nucleus_size", "logp", "advantage", "covariance")
_NOT_TOKENS = ("step", "method", "prompt", "tokens", "left_out")
_MOST_PROMPT = 1500


def pack_token_maps(runs: Sequence[Run], budget: int) -> tuple[list[dict[str, Any]], int]:
    """The completions to show, at most `budget` bytes of JSON.

    Where they are too many, snapshots are left out evenly over training: the first and the last step stay.

    Args:
        runs: Runs with token maps, damaged lines included.
        budget: Bytes.

    Returns:
        The packed completions, and how many were left out.
    """
    packed = [row for i, run in enumerate(runs) for row in (_pack(i, run, line) for line in run.token_map) if row]
    sizes = [len(json_island(row)) + 1 for row in packed]
    steps = sorted({row["step"] for row in packed})
    chosen = list(range(len(packed)))
    stride = 1
    while sum(sizes[i] for i in chosen) > budget and stride < len(steps):
        stride *= 2
        shown = {*steps[::stride], steps[-1]}
        chosen = [i for i, row in enumerate(packed) if row["step"] in shown]
    while sum(sizes[i] for i in chosen) > budget:
        chosen = chosen[: len(chosen) // 2]
    return [packed[i] for i in chosen], len(packed) - len(chosen)


def json_island(value: Any) -> str:
    """JSON that may stand inside `<script>`: no `<`, `>` or `&` in it, whatever the tokens hold.

    >>> json_island(["</script>"])
    '["\\\\u003c/script\\\\u003e"]'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", errors="replace").decode("utf-8")  # a lone surrogate is no text


def _pack(index: int, run: Run, line: dict[str, Any]) -> dict[str, Any] | None:
    tokens = line.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        return None
    n = len(tokens)
    row: dict[str, Any] = {
        "run": index,
        "method": _method(run, line),
        "step": line["step"],
        "prompt": str(line.get("prompt", ""))[-_MOST_PROMPT:],
        "tokens": [str(token) for token in tokens],
        "left_out": line["left_out"] if isinstance(line.get("left_out"), int) else 0,
        "numbers": {},
        "marks": {},
    }
    for name, values in line.items():
        if name in _NOT_TOKENS:
            continue
        if is_number(values):
            row["numbers"][name] = values
        elif isinstance(values, list) and name not in NUMBERS and _are_places(values, n):
            row["marks"][name] = [i for i in values if isinstance(i, int) and 0 <= i < n]
        elif isinstance(values, list) and len(values) == n:
            row["numbers"][name] = [v if is_number(v) else None for v in values]
    return row


def _are_places(values: list[Any], n: int) -> bool:
    """Whether a list names tokens by their places; a number a token is as long as the tokens."""
    return len(values) != n or values == list(range(n))


def _method(run: Run, line: dict[str, Any]) -> str:
    if run.methods is None:
        return name_of(str(line.get("method", PLAIN.key)))
    return " + ".join(method.name for method in run.methods) or PLAIN.name
