"""W&B's offline file (`run-*.wandb`), read without W&B: blocks of LevelDB's log format that hold `Record` messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .protobuf import fields
from .records import Problem, RunLogError, logged_step


_BLOCK, _HEADER = 32768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read_wandb(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[Problem]]:
    """The history of one offline run, each point at its [`logged_step`].

    Raises:
        RunLogError: If the file is no W&B file or holds no history.
    """
    raw = path.read_bytes()
    if raw[:4] != b":W&B":
        raise RunLogError(f"{path}: not a W&B run file (it does not start with ':W&B').")
    points: list[tuple[int, dict[str, Any]]] = []
    problems: list[Problem] = []
    try:
        for record in _records(raw):
            for number, history in fields(record):
                if number == 2:
                    points.append(_history(history))
    except (struct.error, IndexError, ValueError, TypeError, RecursionError) as error:
        problems.append(Problem(path, None, f"damaged ({error}); {len(points)} history records read before it"))
    if not points:
        raise RunLogError(f"{path}: no history record in this W&B file.")
    return points, problems


def _records(raw: bytes) -> Iterator[bytes]:
    offset, parts = _HEADER, []
    while offset + _HEADER <= len(raw):
        left = _BLOCK - offset % _BLOCK
        if left < _HEADER:  # the tail of a block is padding
            offset += left
            continue
        _, length, kind = struct.unpack_from("<IHB", raw, offset)
        body = raw[offset + _HEADER : offset + _HEADER + length]
        if len(body) < length:
            raise ValueError("cut off inside a record")
        offset += _HEADER + length
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            raise ValueError(f"record type {kind}")
        parts = [body] if kind in (_FULL, _FIRST) else [*parts, body]
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


def _history(message: bytes) -> tuple[int, dict[str, Any]]:
    figures: dict[str, Any] = {}
    step = 0
    for number, value in fields(message):
        if number == 1:  # an item: key 1 or nested key 2, value 16 as JSON
            item = list(fields(value))
            key = next((v for n, v in item if n == 1 and v), b"") or b"/".join(v for n, v in item if n == 2)
            text = next((v for n, v in item if n == 16), b"null")
            figures[key.decode("utf-8", errors="replace")] = json.loads(text)
        elif number == 2:
            step = next((v for n, v in fields(value) if n == 1), 0)
    place = logged_step(figures, step)
    if place is None:
        raise ValueError("a history record without a step")
    # An image is an item for each of its properties: width and height are no figures of the run
    media = tuple(key.removesuffix("_type") for key in figures if key.endswith("/_type"))
    return place, {key: value for key, value in figures.items() if not (media and key.startswith(media))}
