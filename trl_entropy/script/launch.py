"""From one command line to `accelerate launch`: which arguments are the launcher's, which the training script's."""

import importlib.resources
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import patch_environment
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from .arguments import (
    argument_name,
    help_text,
    launcher_arguments,
    make_parser,
    refuse_unknown_arguments,
    training_arguments,
)
from .config_file import config_argument, read_config, words_at_home
from .stop import COMMAND


# How the training script learns what the launcher was asked for
_ASKED = "TRL_ENTROPY_NUM_PROCESSES"
_NO = ("false", "no", "off")


def accelerate_config_file(name: str) -> str:
    """A path as it is, or a file shipped with TRL by its name: single_gpu, multi_gpu, fsdp2, zero2, zero3, ..."""
    if Path(name).is_file():
        return name
    folder = importlib.resources.files("trl.accelerate_configs")
    shipped = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in shipped:
        raise ValueError(f"accelerate_config={name!r} is neither a file nor one of {', '.join(shipped)}.")
    return str(folder.joinpath(f"{name}.yaml"))


def split_arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split `trl-entropy grpo`'s arguments into the launcher's and the script's.

    Launcher arguments may stand on the command line or in the YAML file; the command line wins. Nothing is
    constructed here: batch sizes must fit the number of processes, which only the launched processes know.
    """
    known = launcher_arguments() - training_arguments()
    switches = {a.dest for a in launch_command_parser()._actions if a.nargs == 0}
    path, words = config_argument(words_at_home(argv))
    launch: dict[str, Any] = {}
    script: list[str] = []
    if path is not None:
        launch.update({key: value for key, value in read_config(path).items() if key in known})
        script = ["--config", path]
    rest = iter(words)
    for word in rest:
        name, (_, equals, value) = argument_name(word), word.partition("=")
        if not (word.startswith("--") and name in known):
            script.append(word)
        elif name in switches and not equals:
            launch[name] = True
        else:
            launch[name] = value if equals else next(rest, "")
    if "accelerate_config" in launch:
        launch = {"config_file": accelerate_config_file(str(launch.pop("accelerate_config"))), **launch}
    flags = []
    for name, value in launch.items():
        if name in switches and str(value).lower() in ("true", "yes", "on", ""):
            flags.append(f"--{name}")
        elif value not in ("", None) and not (name in switches and str(value).lower() in _NO):
            flags.append(f"--{name}={value}")
    return flags, script


def launch(argv: list[str]) -> int:
    """Run the training script under `accelerate launch`, with the launcher's arguments taken out of `argv`."""
    if {"-h", "--help"} & set(argv):
        print(help_text())
        return 0
    launcher, script = split_arguments(argv)
    path, words = config_argument(script)
    refuse_unknown_arguments(f"--{name}" for name in (read_config(path) if path else ()))
    refuse_unknown_arguments(make_parser().parse_known_args(words)[1])
    # quiet: the script says itself what went wrong; the launcher's own traceback after it would only bury that
    words = [*launcher, "--quiet", "--module", "trl_entropy.train", *script]
    parsed = launch_command_parser().parse_args(words)
    told = {
        COMMAND: f"trl-entropy grpo {shlex.join(argv)}",
        **({_ASKED: parsed.num_processes} if parsed.num_processes else {}),
    }
    try:
        with patch_environment(**told), _signals_passed_on():
            launch_command(parsed)
    except ImportError as error:  # DeepSpeed
        raise ValueError(f"the launcher cannot start: {error}") from error
    except SignalException as stop:  # the script has said what it saved
        return 128 + stop.sigval
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = f"exit code {failure.exitcode}" if failure.exitcode >= 0 else failure.signal_name()
        print(f"trl-entropy: rank {rank} was the first to end, with {how}; what it said is above.", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Hand SIGTERM and Ctrl-C to the training process and wait for its end: accelerate's launcher leaves it alone."""
    received: list[int] = []

    def pass_on(number: int, frame: Any) -> None:
        received.append(number)
        for child in psutil.Process().children():
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit as end:
        raise SystemExit(128 + received[0] if received else end.code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def warn_of_missing_processes(started: int) -> None:
    """Warn when `num_processes` asked for another number: accelerate can start one process and say nothing."""
    asked = os.environ.get(_ASKED)
    if asked and int(asked) != started:
        warnings.warn(
            f"num_processes={asked} has no effect: {started} process(es) were started. Several need GPUs, or "
            "accelerate_config multi_gpu, fsdp2, zero2 or zero3, and neither single_gpu nor --cpu."
        )
