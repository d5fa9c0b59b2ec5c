"""A configuration read as a plan: parsed and checked for any number of processes, with no model and no GPU."""

import contextlib
import copy
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from trl import ModelConfig, TrlParser

from ..config import EntropyGRPOConfig
from ..script.config_file import read_config
from ..script.data import ColumnArguments
from ..script.inputs import check_inputs
from ..script.launch import refuse_unknown_arguments, split_arguments
from ..script.mixture import Mixture
from ..script.monitors import MonitorArguments, check_monitors
from ..script.train import EntropyScriptArguments


class PlannedArguments(EntropyGRPOConfig):
    """The arguments as they will be on `processes` devices that know bfloat16, whatever this machine has."""

    processes = 1

    @property
    def world_size(self) -> int:
        return type(self).processes

    def __post_init__(self):
        on_cpu, self.use_cpu = self.use_cpu, True  # else TRL asks this machine whether it has the GPU
        super().__post_init__()
        self.use_cpu = on_cpu


@dataclass(frozen=True)
class Plan:
    """A parsed configuration.

    Attributes:
        path: the YAML file.
        args, script, model: the groups of arguments.
        launcher: what the accelerate file says, and over it what is given to the launcher.
        processes: how many the plan is for.
        given: the keys that stand in the file or on the command line.
        warnings: what the arguments warned of.
    """

    path: str
    args: EntropyGRPOConfig
    script: EntropyScriptArguments
    model: ModelConfig
    launcher: Mapping[str, Any]
    processes: int
    given: frozenset[str]
    warnings: tuple[str, ...]

    @property
    def rollout(self) -> int:
        """Completions in one generated batch, over all processes."""
        return self.args.generation_batch_size or 0  # TRL fills it in

    @property
    def steps_per_rollout(self) -> float:
        """Optimizer steps on one generated batch; less than 1 where a step takes several batches."""
        args = self.args
        return (args.steps_per_generation or 1) * args.num_iterations / args.gradient_accumulation_steps

    @property
    def completions_per_step(self) -> int:
        """Completions in one optimizer step, over all processes."""
        return self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.processes

    @property
    def sharded_by(self) -> str | None:
        """`deepspeed` or `fsdp`, which keep float32 weights for the optimizer; `None` for neither."""
        kind = str(self.launcher.get("distributed_type", "")).lower()
        for name, argument in (("deepspeed", self.args.deepspeed), ("fsdp", self.args.fsdp)):
            if name in kind or argument or self.launcher.get(f"use_{name}"):
                return name
        return None


def read_plan(path: str, overrides: list[str] | None = None, processes: int | None = None) -> Plan:
    """Parse and check a YAML file as `trl-entropy grpo --config` does, for `processes` devices.

    Whether vLLM is installed here does not matter: the run may be another machine's.

    Args:
        path: the YAML file.
        overrides: further arguments, `["--siren_coef", "0.01"]`, those of the launcher included.
        processes: number of devices; by default `num_processes` of the overrides, of the file, or of the accelerate
            file that it names, else 1.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the configuration would be refused; the message is that of training.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file. Give the path of a YAML file.")
    overrides = list(overrides or [])
    content = read_config(path)
    flags, words = split_arguments(["--config", path, *overrides])
    launcher = _launcher(flags)
    launched = 1 if launcher.get("distributed_type") == "NO" else int(launcher.get("num_processes") or 1)
    planned = type("EntropyGRPOConfig", (PlannedArguments,), {"processes": processes or launched})
    groups: Any = (
        EntropyScriptArguments,
        planned,
        ModelConfig,
        Mixture,
        ColumnArguments,
        MonitorArguments,
    )
    with warnings.catch_warnings(record=True) as caught, _quiet() as said, _environment():
        warnings.simplefilter("always")
        try:
            script, args, model, mixture, columns, monitors, unknown = TrlParser(
                groups, prog="trl-entropy doctor"
            ).parse_args_and_config(words, return_remaining_strings=True)
        except SystemExit as stop:
            raise ValueError(said.getvalue().strip().splitlines()[-1].partition("error: ")[2]) from stop
        refuse_unknown_arguments(unknown)
        elsewhere = copy.copy(args)
        elsewhere.use_vllm = False
        try:
            check_inputs(script, elsewhere, model, mixture, columns)
            check_monitors(monitors, args.report_to)
        except FileNotFoundError as error:
            raise ValueError(str(error)) from error
    given = set(content) | {word[2:].split("=")[0] for word in overrides if word.startswith("--")}
    ours = tuple(str(w.message) for w in caught if "trl_entropy" in w.filename or "has no effect" in str(w.message))
    return Plan(path, args, script, model, launcher, planned.processes, frozenset(given), ours)


def _launcher(flags: list[str]) -> dict[str, Any]:
    given = {name: value or True for name, _, value in (flag.removeprefix("--").partition("=") for flag in flags)}
    file = given.get("config_file")
    return {**(yaml.safe_load(Path(file).read_text()) if isinstance(file, str) else {}), **given}


@contextmanager
def _quiet() -> Iterator[io.StringIO]:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        yield said


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)  # the parser carries out the file's `env:`
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class ModelShape:
    """What the memory of a language model's head depends on: `hidden` and `vocabulary`."""

    hidden: int
    vocabulary: int


KNOWN_SHAPES = {
    "Qwen/Qwen2.5-0.5B": ModelShape(896, 151_936),
    "Qwen/Qwen2.5-1.5B": ModelShape(1536, 151_936),
    "Qwen/Qwen2.5-3B": ModelShape(2048, 151_936),
    "Qwen/Qwen2.5-7B": ModelShape(3584, 152_064),
    "Qwen/Qwen2.5-14B": ModelShape(5120, 152_064),
    "Qwen/Qwen2.5-32B": ModelShape(5120, 152_064),
    "Qwen/Qwen2.5-Math-1.5B": ModelShape(1536, 151_936),
    "Qwen/Qwen2.5-Math-7B": ModelShape(3584, 152_064),
}


def model_shape(name: str | None) -> ModelShape | None:
    """Read the shape from a local folder or the Hub's local cache, else from a short table; `None` if nobody knows."""
    if not name:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = Path(name) / "config.json" if Path(name).is_dir() else try_to_load_from_cache(name, "config.json")
    if isinstance(path, str | Path) and Path(path).is_file():
        config = json.loads(Path(path).read_text())
        config = {**config, **config.get("text_config", {})}
        if "hidden_size" in config and "vocab_size" in config:
            return ModelShape(config["hidden_size"], config["vocab_size"])
    return KNOWN_SHAPES.get(name.removesuffix("-Instruct"))
