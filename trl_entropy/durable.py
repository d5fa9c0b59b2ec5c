"""Files that are there whole or not at all, and logs that grow line by line, whenever the process dies."""

import os
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: str | os.PathLike, text: str) -> Path:
    """Write `text` to `path` through a temporary name in the same folder, flushed to the disk before the rename.

    A reader sees the old content or the new, never a part. A failed write leaves the old content.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return path


def append_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    """Append `lines` to the file `path`, which is made if need be; each begins a new line.

    Where the last write was cut off, by a kill or a full disk, its half line stays one of its own.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() and not _ends_in_newline(file):
            file.write(b"\n")
        file.write("".join(line + "\n" for line in lines).encode("utf-8"))


def _ends_in_newline(file) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
