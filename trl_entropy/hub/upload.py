"""What of a run's folder goes to the Hub: no prompts or completions, no checkpoints, no paths of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


DESTINATION_FILE = "push.json"
# What the Trainer leaves out of a push, the note that only this machine needs, and texts that may not be public:
# prompts and completions of training and of evaluations
IGNORED = [
    "_*",
    "checkpoint-*",
    DESTINATION_FILE,
    "token_map*.jsonl",
    "completions/*",
    "*samples*.parquet",
    "*samples*.jsonl",
]
# What this package writes and may name a folder of this machine in
_OURS = ("settings*.json", "entropy_reward.jsonl", "evaluation/*.json", "evaluation/*.jsonl")


@contextmanager
def staged(folder: str | Path) -> Iterator[Path]:
    """A folder to upload instead: links to the files of `folder`, and copies of ours without local paths."""
    from huggingface_hub.utils import filter_repo_objects

    folder = Path(folder).absolute()
    with TemporaryDirectory() as stage:
        names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        for name in filter_repo_objects(names, ignore_patterns=IGNORED):
            there = Path(stage, name)
            there.parent.mkdir(parents=True, exist_ok=True)
            if any(fnmatch(name, pattern) for pattern in _OURS):
                there.write_text(_public((folder / name).read_text(encoding="utf-8")), encoding="utf-8")
            else:
                there.symlink_to((folder / name).resolve())
        yield Path(stage)


def without_local_paths(value: Any) -> Any:
    """A JSON value in which each text that is an absolute path has become its last part.

    Example:
        >>> without_local_paths({"model": "/data/models/Qwen2.5-7B", "prompt": "a / b", "n": [8]})
        {'model': 'Qwen2.5-7B', 'prompt': 'a / b', 'n': [8]}
    """
    if isinstance(value, dict):
        return {key: without_local_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_local_paths(item) for item in value]
    if isinstance(value, str) and "\n" not in value and Path(value).is_absolute() and len(Path(value).parts) > 2:
        return Path(value).name
    return value


def _public(text: str) -> str:
    try:
        return json.dumps(without_local_paths(json.loads(text)), indent=1) + "\n"
    except ValueError:  # several lines, or one that is cut off
        return "".join(map(_public_line, text.splitlines(keepends=True)))


def _public_line(line: str) -> str:
    try:
        return json.dumps(without_local_paths(json.loads(line))) + "\n"
    except ValueError:
        return ""
