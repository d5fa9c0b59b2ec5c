"""TensorBoard event files, read without TensorBoard: TFRecords that hold `Event` messages (protobuf)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .protobuf import fields
from .records import Problem, RunLogError, as_step


def read_events(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[Problem]]:
    """The scalars of one event file, as (step, {tag: value}).

    A file that ends inside a record (the writer was killed) gives the records before it.

    Raises:
        RunLogError: If the file is empty or no record of it can be read.
    """
    raw = path.read_bytes()
    if not raw:
        raise RunLogError(f"{path}: the file is empty.")
    points: list[tuple[int, dict[str, Any]]] = []
    problems: list[Problem] = []
    records = 0
    offset = 0
    while offset < len(raw):
        # uint64 length, uint32 checksum of it, the record, uint32 checksum of the record
        length = struct.unpack_from("<Q", raw, offset)[0] if offset + 12 <= len(raw) else None
        if length is None or offset + 16 + length > len(raw):
            problems.append(Problem(path, None, f"cut off inside record {records + 1}; {records} records read"))
            break
        try:
            points += _scalars(raw[offset + 12 : offset + 12 + length])
        except (struct.error, IndexError, ValueError, TypeError) as error:
            problems.append(Problem(path, None, f"record {records + 1} is damaged ({error}); skipped"))
        records += 1
        offset += 16 + length
    if not points:
        first = f" {problems[0].message}." if problems else ""
        raise RunLogError(f"{path}: no scalar in this TensorBoard file ({records} records).{first}")
    return points, problems


def _scalars(event: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    parts = list(fields(event))
    step = as_step(next((value for number, value in parts if number == 2), 0))
    if step is None:
        raise ValueError("no step")
    for number, summary in parts:
        if number != 5:
            continue
        for part, value in fields(summary):
            if part == 1:
                figures = dict(fields(value))
                number_found = _scalar(figures)
                if 1 in figures and number_found is not None:
                    yield step, {figures[1].decode("utf-8", errors="replace"): number_found}


def _scalar(value: dict[int, Any]) -> float | None:
    if 2 in value:  # simple_value
        return struct.unpack("<f", value[2])[0]
    if 8 not in value:
        return None
    tensor = dict(fields(value[8]))  # newer writers: a TensorProto of one number
    if tensor.get(1) == 1 and 5 in tensor:  # DT_FLOAT, float_val
        return struct.unpack("<f", tensor[5][:4])[0]
    if tensor.get(1) == 1 and len(tensor.get(4, b"")) == 4:  # tensor_content
        return struct.unpack("<f", tensor[4])[0]
    return None
