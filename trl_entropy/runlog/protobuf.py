"""Just enough of protobuf's wire format to read trackers' files without their packages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: (number, int for varints, bytes otherwise)."""
    i = 0
    while i < len(message):
        key, i = varint(message, i)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, i = varint(message, i)
        else:
            if kind == _BYTES:
                length, i = varint(message, i)
            elif kind in (_FIXED64, _FIXED32):
                length = 8 if kind == _FIXED64 else 4
            else:
                raise ValueError(f"wire type {kind}")
            value, i = message[i : i + length], i + length
            if i > len(message):
                raise ValueError("field runs past its message")
        yield number, value


def varint(message: bytes, i: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[i]
        value |= (byte & 0x7F) << shift
        i, shift = i + 1, shift + 7
        if not byte & 0x80:
            return value, i
        if shift > 63:
            raise ValueError("number too long")
