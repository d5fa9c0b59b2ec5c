"""Which model is meant, checked before anything heavy is imported; loaded when it is first needed."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from .sampling import Completion, Engine, Prompt, Sampling


_WINDOW, _WINDOWS = 1 << 14, 1024  # bytes and number of the samples of a large file
# What decides a model's samples; a run's folder holds logs, optimizer states and reports beside it
_DECIDES = re.compile(
    r".*\.(safetensors|model|jinja|index\.json)|(pytorch|adapter)_model.*\.bin|(adapter_|generation_)?config\.json"
    r"|tokenizer.*\.json|(special_tokens_map|added_tokens|vocab)\.json|(vocab|merges)\.txt"
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def check_model(model: str) -> None:
    """Raise unless `model` is a folder with a model or an adapter, or could be a hub id.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: for a folder without `config.json` or `adapter_config.json`, or a name no hub id can have.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise ValueError(
                f"{model} holds neither config.json nor adapter_config.json. Give the folder that "
                "save_pretrained wrote, often a checkpoint-N inside the run."
            )
    elif path.exists():
        raise ValueError(f"{model} is a file. Give a folder or a Hub id.")
    elif model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {model}.")
    elif not _HUB_ID.fullmatch(model):
        raise ValueError(f"{model!r} is neither a folder nor a possible Hub id (NAME or USER/NAME).")


def fingerprint(model: str) -> str | None:
    """SHA-256 of a local model's names and contents: another training at the same path has another; None for a Hub id.

    Files above 16 MiB are sampled evenly, 1,024 windows of 16 KiB, so that a model of any size takes less than a
    second. An adapter's covers its base model where that is local too.
    """
    path = Path(model)
    if not path.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(item for item in path.iterdir() if item.is_file() and _DECIDES.fullmatch(item.name)):
        size = file.stat().st_size
        digest.update(f"{file.name} {size} ".encode())
        with file.open("rb") as content:
            if size <= _WINDOW * _WINDOWS:
                digest.update(content.read())
            else:
                for i in range(_WINDOWS):
                    content.seek(i * (size - _WINDOW) // (_WINDOWS - 1))
                    digest.update(content.read(_WINDOW))
    base = _local_base(path)
    if base is not None:
        digest.update((fingerprint(base) or base).encode())
    return digest.hexdigest()


def _local_base(path: Path) -> str | None:
    try:
        adapter = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
        base = adapter.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    return base if isinstance(base, str) and Path(base).is_dir() and Path(base).resolve() != path.resolve() else None


def slug(model: str) -> str:
    """A folder name for a model.

    Example:
        >>> slug("Qwen/Qwen2.5-0.5B"), slug("runs/siren/checkpoint-100/")
        ('Qwen--Qwen2.5-0.5B', 'runs--siren--checkpoint-100')
    """
    return re.sub(r"[^\w.-]+", "--", model).strip("-.") or "model"


def short_names(models: Sequence[str]) -> dict[str, str]:
    """Names for tables: the last parts of each path, two or as many as tell the models apart.

    Example:
        >>> list(short_names(["runs/grpo/checkpoint-10", "runs/siren/checkpoint-10"]).values())
        ['grpo/checkpoint-10', 'siren/checkpoint-10']
    """
    distinct = list(dict.fromkeys(models))
    split = {model: [part for part in model.split("/") if part] for model in distinct}
    longest = max(len(parts) for parts in split.values())
    for kept in range(2, longest + 1):
        names = {model: "/".join(parts[-kept:]) for model, parts in split.items()}
        if len(set(names.values())) == len(distinct):
            return names
    return {model: model for model in distinct}


class LazyEngine:
    """An engine whose model is loaded at its first use: a finished evaluation is tabulated without it."""

    def __init__(self, name: str, load: Callable[[], Engine]):
        self.name, self._load = name, load

    @cached_property
    def _engine(self) -> Engine:
        return self._load()

    def lengths(self, prompts: Sequence[Prompt]) -> list[int]:
        return self._engine.lengths(prompts)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        return self._engine.generate(prompts, sampling, seeds)
