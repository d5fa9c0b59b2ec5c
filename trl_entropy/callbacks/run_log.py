"""Leave a run's settings and metrics in its folder, readable while it trains and after a crash."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..durable import append_lines, write_whole
from ..methods import METHODS
from ..reliability.beside_training import beside_training
from ..reliability.log_files import METRICS_FILE, make_room


SETTINGS_FILE = "settings.json"
_PACKAGES = ("trl-entropy", "trl", "transformers", "torch")


class RunLogCallback(TrainerCallback):
    """Write `settings.json` when training begins and append every log to `metrics.jsonl`.

    TRL leaves its log only in checkpoints. With these two files `trl-entropy report` draws a run that is still
    training, or was killed. What an earlier run left in the folder is set aside, and of a run that resumes the steps
    after that, as [`log_files`][trl_entropy.reliability.log_files] says. A file that cannot be written ends no run.

    [`EntropyGRPOTrainer`] adds it by itself; add it to another trainer with `add_callback(RunLogCallback())`.
    """

    def __init__(self, folder: str | Path | None = None, methods: Iterable[Any] = ()):
        self.folder = folder
        self.methods = [{"key": method.key, "name": method.name} for method in methods]

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Write the settings: what differs from the defaults, and the versions."""
        if not state.is_world_process_zero:
            return
        folder = Path(self.folder or args.output_dir)
        settings = {
            "method": method_of(args),
            "methods": self.methods,
            "seed": args.seed,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "model": _public_name(getattr(getattr(model, "config", None), "_name_or_path", None)),
            "arguments": changed_arguments(args),
            "versions": {name: version(name) for name in _PACKAGES},
        }
        with beside_training(SETTINGS_FILE):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / SETTINGS_FILE, json.dumps(settings, indent=1, default=str) + "\n")
        with beside_training("the logs in the run's folder"):
            make_room(folder, state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Append one line: the step and its figures; a figure that is not finite is null."""
        if state.is_world_process_zero and logs:
            line = {"step": state.global_step} | {key: _plain(value) for key, value in logs.items()}
            with beside_training(METRICS_FILE):
                append_lines(Path(self.folder or args.output_dir) / METRICS_FILE, [json.dumps(line, default=str)])


def method_of(args: Any) -> str:
    """The methods by the arguments: `plain`, or their keys and `bonus` for TRL's own, joined by `+`."""
    on = [method.key for method in METHODS if hasattr(args, method.switch) and method.is_on(args)]
    if getattr(args, "entropy_coef", 0) or getattr(args, "use_adaptive_entropy", False):
        on.append("bonus")
    return "+".join(on) or "plain"


def changed_arguments(args: Any) -> dict[str, Any]:
    """The arguments that differ from their class's defaults, without secrets and objects."""
    changed = {}
    for item in fields(args):
        value = getattr(args, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        simple = isinstance(value, (str, int, float, bool, list, dict))  # accelerate's objects are not settings
        if simple and value != default and not _is_secret(item.name, value):
            changed[item.name] = without_secrets(value)
    return changed


def without_secrets(value: Any) -> Any:
    """Lists and dictionaries without the entries whose key says that they are secret."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if not _is_secret(str(key), item)}
    return [without_secrets(item) for item in value] if isinstance(value, list) else value


def _is_secret(name: str, value: Any) -> bool:
    words = set(re.split(r"[^a-z]+", name.lower()))
    return isinstance(value, str) and bool(words & {"token", "password", "secret", "key", "apikey"})


def _public_name(model: str | None) -> str | None:
    """A Hub id as it is; of a local path only the folder's name, since the file may be published."""
    return Path(model).name if model and (Path(model).is_absolute() or Path(model).exists()) else model or None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
