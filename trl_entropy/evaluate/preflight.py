"""Bad input to an evaluation as one clear line: what was given, what is allowed, what to do."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


DTYPES = ("auto", "bfloat16", "float16", "float32")


def check_dtype(dtype: str) -> None:
    """Raise a ValueError unless `dtype` is one of `DTYPES`."""
    if dtype not in DTYPES:
        raise ValueError(f"--dtype {dtype!r} is not known. Give one of {', '.join(DTYPES)}.")


def check_device(device: str | None) -> None:
    """Raise a ValueError unless torch can place a model on `device`; None and `cpu` always do."""
    if device is None or device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise ValueError(
            f"--device {device!r} cannot be used on this machine ({first_line(error)}). "
            f"Here there is: {', '.join(['cpu', *here])}."
        ) from error


def check_output(folder: Path) -> None:
    """Raise a ValueError unless `folder` is a folder that can be written to, or can be made one. Makes nothing."""
    for place in (folder, *folder.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise ValueError(
                f"--output-dir {folder}: {place} is a file. Give a folder, or a path that does not exist."
            )
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise ValueError(f"--output-dir {folder}: {place} cannot be written to. Give another folder.")
            return


@contextlib.contextmanager
def loading(model: str) -> Iterator[None]:
    """Turn what the libraries raise while a model is loaded into one line.

    Raises:
        ValueError: for a folder without weights, an unknown hub id, no network, damaged weights, too little memory.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        what = "its folder must hold config.json, weights and a tokenizer, as save_pretrained writes them"
        if not Path(model).is_dir():
            what = "a Hub id needs the network or a local cache, and for a private model `hf auth login`"
        raise ValueError(f"{model} cannot be loaded: {first_line(error)}. For {model!r}, {what}.") from error


def check_template(tokenizer: Any, messages: list[dict[str, Any]], options: Mapping[str, Any] | None = None) -> None:
    """Raise `ValueError` unless the tokenizer's chat template renders these messages."""
    try:
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **(options or {}))
    except Exception as error:  # a template raises what it likes
        roles = [str(message["role"]) for message in messages]
        remedy = "Put the system prompt into the question instead" if "system" in roles else "Mend the template"
        raise ValueError(
            f"The chat template of {tokenizer.name_or_path} refuses a chat of {', '.join(roles)} "
            f"({first_line(error)}). {remedy}, or ask without a chat."
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without its full stop; its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
