"""From one command line to `accelerate launch`: which arguments are the launcher's, which the training script's."""

import importlib.resources
import os
import sys
import warnings
from pathlib import Path

from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import patch_environment
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from .config_file import config_argument, read_config
from .train import make_parser


# Launcher arguments that would change what is trained are left to the training script, which has its own
_NOT_LAUNCH = {"config_file", "module", "training_script", "training_script_args", "help"}
# How the training script learns what the launcher was asked for
_ASKED = "TRL_ENTROPY_NUM_PROCESSES"


def launcher_arguments() -> set[str]:
    """Names that `accelerate launch` takes, and `accelerate_config`, ours for its `--config_file`."""
    actions = launch_command_parser()._actions
    return ({a.dest for a in actions} - _NOT_LAUNCH) | {"accelerate_config"}


def refuse_unknown_arguments(unknown: list[str]) -> None:
    """Raise `ValueError` on arguments that neither the script nor the launcher knows.

    The launcher's own may stand in a YAML file, and are ignored here, where the launch has already happened.
    """
    known = launcher_arguments()
    bad = [word for word in unknown if word.startswith("--") and _name(word) not in known]
    if bad:
        raise ValueError(
            f"unknown arguments: {', '.join(bad)}. `trl-entropy grpo --help` lists those of training; "
            "`accelerate launch --help` those of the launcher."
        )


def _name(word: str) -> str:
    """The argument that `--some-name` or `--some_name=value` gives; both spellings are accelerate's and TRL's."""
    return word.removeprefix("--").partition("=")[0].replace("-", "_")


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
    parser = make_parser("trl-entropy grpo")
    known = launcher_arguments() - {action.dest for action in parser._actions}
    switches = {a.dest for a in launch_command_parser()._actions if a.nargs == 0}
    path, words = config_argument(argv)
    launch: dict[str, str | bool | None] = {}
    script: list[str] = []
    if path is not None:
        launch.update({key: value for key, value in read_config(path).items() if key in known})
        script = ["--config", path]
    rest = iter(words)
    for word in rest:
        name, (_, equals, value) = _name(word), word.partition("=")
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
        if name in switches and str(value).lower() in ("true", ""):
            flags.append(f"--{name}")
        elif value not in ("", None) and not (name in switches and str(value).lower() == "false"):
            flags.append(f"--{name}={'no' if value is False else value}")  # YAML reads `mixed_precision: no` as False
    return flags, script


def launch(argv: list[str]) -> int:
    """Run the training script under `accelerate launch`, with the launcher's arguments taken out of `argv`."""
    launcher, script = split_arguments(argv)
    if "-h" in script or "--help" in script:
        make_parser("trl-entropy grpo").print_help()
        return 0
    refuse_unknown_arguments(make_parser("trl-entropy grpo").parse_known_args(config_argument(script)[1])[1])
    # quiet: the script says itself what went wrong; the launcher's own traceback after it would only bury that
    words = [*launcher, "--quiet", "--module", "trl_entropy.script.train", *script]
    parsed = launch_command_parser().parse_args(words)
    try:
        with patch_environment(**{_ASKED: parsed.num_processes} if parsed.num_processes else {}):
            launch_command(parsed)
    except ImportError as error:  # DeepSpeed
        raise ValueError(f"the launcher cannot start: {error}") from error
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        how = f"exit code {failure.exitcode}" if failure.exitcode >= 0 else failure.signal_name()
        print(f"trl-entropy: rank {rank} was the first to end, with {how}; what it said is above.", file=sys.stderr)
        return 1
    return 0


def warn_of_missing_processes(started: int) -> None:
    """Warn when `num_processes` asked for another number: accelerate can start one process and say nothing."""
    asked = os.environ.get(_ASKED)
    if asked and int(asked) != started:
        warnings.warn(
            f"num_processes={asked} has no effect: {started} process(es) were started. Several need GPUs, or "
            "accelerate_config multi_gpu, fsdp2, zero2 or zero3, and neither single_gpu nor --cpu."
        )
