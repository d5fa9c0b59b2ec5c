"""Files that are there whole or not at all, whenever the process dies."""

import os
from pathlib import Path


def write_whole(path: str | os.PathLike, text: str) -> Path:
    """Write `text` to `path` through a temporary name in the same folder, flushed to the disk before the rename.

    A reader sees the old content or the new, never a part. A failed write leaves the old content.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return path
