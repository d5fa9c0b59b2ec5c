"""A configuration read as a plan: parsed and checked for any number of processes, with no model and no GPU."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from trl import ModelConfig

from ..config import EntropyGRPOConfig
from ..script.arguments import Arguments, parse
from ..script.data import column_names
from ..script.inputs import check_inputs, check_installed
from ..script.launch import split_arguments
from ..script.model_check import check_tokenizer
from ..script.monitors import heldout
from ..script.splits import is_local, load_data


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
        args, model: groups of arguments.
        launcher: what the accelerate file says, and over it what is given to the launcher.
        processes: how many the plan is for.
        given: the keys that stand in the file or on the command line.
        warnings: what the arguments warned of.
        refusals: why training would be refused on this machine, although the configuration is sound.
    """

    path: str
    args: EntropyGRPOConfig
    model: ModelConfig
    launcher: Mapping[str, Any]
    processes: int
    given: frozenset[str]
    warnings: tuple[str, ...]
    refusals: tuple[str, ...]

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
    def shards(self) -> tuple[int, int]:
        """Over how many processes weights, and gradients with optimizer, are split."""
        kind = str(self.launcher.get("distributed_type"))
        stage = (self.launcher.get("deepspeed_config") or {}).get("zero_stage", 0) if "DEEPSPEED" in kind else 0
        whole = kind == "FSDP" or stage == 3
        return (self.processes if whole else 1, self.processes if whole or stage == 2 else 1)


def read_plan(
    path: str, overrides: list[str] | None = None, processes: int | None = None, elsewhere: bool = False
) -> Plan:
    """Parse and check a YAML file as `trl-entropy grpo --config` does, for `processes` devices.

    Data and tokenizer that lie on this machine are read, too; nothing is fetched.

    Args:
        path: the YAML file.
        overrides: further arguments, `["--siren_coef", "0.01"]`, those of the launcher included.
        processes: number of devices; by default `num_processes` of the overrides, of the file, or of the accelerate
            file that it names, else 1.
        elsewhere: whether the run is another machine's. What is not installed here then goes into `refusals`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the configuration would be refused; the message is that of training.
    """
    if not Path(path).expanduser().is_file():
        raise FileNotFoundError(f"{path} is not a file. Give the path of a YAML file.")
    flags, words = split_arguments(["--config", path, *(overrides or [])])
    launcher = _launcher(flags)
    launched = 1 if launcher.get("distributed_type") == "NO" else int(launcher.get("num_processes") or 1)
    planned = type("EntropyGRPOConfig", (PlannedArguments,), {"processes": processes or launched})
    with warnings.catch_warnings(record=True) as caught, _environment():
        warnings.simplefilter("always")
        given = parse(words, planned)
        try:
            check_inputs(given)
            _check_what_is_here(given)
        except OSError as error:
            raise ValueError(str(error)) from error
        refusals = []
        try:
            check_installed(given)
            if "DEEPSPEED" in str(launcher.get("distributed_type")) and find_spec("deepspeed") is None:
                raise ValueError('DeepSpeed is not installed here: pip install ".[deepspeed]", or take fsdp2.')
        except ValueError as error:
            if not elsewhere:
                raise
            refusals.append(str(error))
    ours = tuple(str(w.message) for w in caught if "trl_entropy" in w.filename or "has no effect" in str(w.message))
    names = given.given | {flag.removeprefix("--").partition("=")[0] for flag in flags}
    return Plan(path, given.args, given.model, launcher, planned.processes, names, ours, tuple(refusals))


def _check_what_is_here(given: Arguments) -> None:
    benchmark = given.monitors.heldout_benchmark
    if benchmark is not None and (benchmark == "countdown" or Path(benchmark).is_file()):
        heldout(given.monitors, given.columns)
    prompt, columns = None, []
    if is_local(given):
        train_split, _ = load_data(given)
        prompt, columns = next(iter(train_split))["prompt"], column_names(train_split)
    if Path(str(given.model.model_name_or_path)).is_dir():
        check_tokenizer(given, prompt, columns)


def _launcher(flags: list[str]) -> dict[str, Any]:
    given = {name: value or True for name, _, value in (flag.removeprefix("--").partition("=") for flag in flags)}
    file = given.get("config_file")
    return {**(yaml.safe_load(Path(file).read_text()) if isinstance(file, str) else {}), **given}


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)  # the parser carries out the file's `env:`
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
