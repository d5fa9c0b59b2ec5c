"""The YAML file behind `--config`, read as people write it: YAML 1.2's numbers and words, and `~` for the home folder.

YAML 1.1, which PyYAML speaks, takes `no` for false, `1e-7` for a text, `12:30` for 750 and `010` for 8.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml


class _Reader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema, and no key twice."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(problem=f"{', '.join(twice)} stands there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_Reader.yaml_implicit_resolvers = {}
for _tag, _pattern in {
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9](_?[0-9])*|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9](_?[0-9])*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "null": r"~|null|Null|NULL|",
    "merge": r"<<",
}.items():
    _Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def _whole_number(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _number(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


_Reader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Reader.add_constructor("tag:yaml.org,2002:float", _number)


def at_home(value: Any) -> Any:
    """A value with `~` and `~user` at the beginning of every text in it expanded, as a shell expands them."""
    if isinstance(value, str):
        return os.path.expanduser(value)
    if isinstance(value, list):
        return [at_home(item) for item in value]
    return {key: at_home(item) for key, item in value.items()} if isinstance(value, dict) else value


def words_at_home(words: Iterable[str]) -> list[str]:
    """A command line with `~/x` and `--option=~/x` expanded; a shell leaves the second as it is.

    Example:
        >>> words_at_home(["--out=a~/b"])
        ['--out=a~/b']
    """
    split = (re.fullmatch(r"(--[\w-]+=)?(.*)", word, re.DOTALL) for word in words)
    return [(match[1] or "") + at_home(match[2]) for match in split if match]


def read_config(path: str) -> dict[str, Any]:
    """The arguments in a YAML file, by name.

    Raises:
        ValueError: when it is no file, no valid YAML, or not a list of `argument: value` lines. It names the line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"--config {path!r} is not a file. Give the path of a YAML file.")
    try:
        content = yaml.load(file.read_text(encoding="utf-8-sig"), _Reader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{path}{where}: no valid YAML ({getattr(error, 'problem', None) or error}).") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}. Write one `argument: value` on each line.")
    unnamed = [key for key in content if not isinstance(key, str)]
    if unnamed:
        raise ValueError(f"{path}: {unnamed[0]!r} is no argument's name. Write one `argument: value` on each line.")
    return at_home(content)


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
