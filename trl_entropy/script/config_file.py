"""The YAML file behind `--config`, read for what stands in it before TRL's parser does."""

from pathlib import Path
from typing import Any

import yaml


def read_config(path: str) -> dict[str, Any]:
    """The arguments in a YAML file, by name.

    Raises:
        ValueError: when it is no file, no valid YAML, or not a list of `argument: value` lines. It names the line.
    """
    if not Path(path).is_file():
        raise ValueError(f"--config {path!r} is not a file. Give the path of a YAML file.")
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{path}{where}: no valid YAML ({getattr(error, 'problem', None) or error}).") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}. Write one `argument: value` on each line.")
    return content


def config_argument(argv: list[str]) -> tuple[str | None, list[str]]:
    """Take `--config FILE` or `--config=FILE` out of a command line: the file's path and the other words."""
    rest: list[str] = []
    path = None
    words = iter(argv)
    for word in words:
        if word == "--config":
            path = next(words, "")
        elif word.startswith("--config="):
            path = word.partition("=")[2]
        else:
            rest.append(word)
    return path, rest
