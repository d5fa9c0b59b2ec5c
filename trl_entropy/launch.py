"""From one command line to `accelerate launch`: which arguments are the launcher's, which the training script's."""

import importlib.resources
from pathlib import Path

from accelerate.commands.launch import launch_command, launch_command_parser

from .config_file import config_argument, read_config
from .train import make_parser


# Launcher arguments that would change what is trained are left to the training script, which has its own
_NOT_LAUNCH = {"config_file", "module", "training_script", "training_script_args", "help"}


def launcher_arguments() -> set[str]:
    """Names that `accelerate launch` takes, and `accelerate_config`, ours for its `--config_file`."""
    actions = launch_command_parser()._actions
    return ({a.dest for a in actions} - _NOT_LAUNCH) | {"accelerate_config"}


def refuse_unknown_arguments(unknown: list[str]) -> None:
    """Raise `ValueError` on arguments that neither the script nor the launcher knows.

    The launcher's own may stand in a YAML file, and are ignored here, where the launch has already happened.
    """
    known = launcher_arguments()
    bad = [word for word in unknown if word.startswith("--") and word[2:].split("=")[0] not in known]
    if bad:
        raise ValueError(
            f"unknown arguments: {', '.join(bad)}. `trl-entropy grpo --help` lists those of training; "
            "`accelerate launch --help` those of the launcher."
        )


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
        name, equals, value = word.removeprefix("--").partition("=")
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
            flags.append(f"--{name}={value}")
    return flags, script


def launch(argv: list[str]) -> int:
    """Run the training script under `accelerate launch`, with the launcher's arguments taken out of `argv`."""
    launcher, script = split_arguments(argv)
    if "-h" in script or "--help" in script:
        make_parser("trl-entropy grpo").print_help()
        return 0
    refuse_unknown_arguments(make_parser("trl-entropy grpo").parse_known_args(config_argument(script)[1])[1])
    # quiet: the script says itself what went wrong; the launcher's own traceback after it would only bury that
    words = [*launcher, "--quiet", "--module", "trl_entropy.train", *script]
    launch_command(launch_command_parser().parse_args(words))
    return 0
