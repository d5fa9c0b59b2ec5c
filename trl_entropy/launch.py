"""From one command line to `accelerate launch`: which arguments are the launcher's, which the training script's."""

import importlib.resources
from pathlib import Path

import yaml
from accelerate.commands.launch import launch_command, launch_command_parser

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
    launch: dict[str, str | bool] = {}
    if "--config" in argv:
        path = argv[argv.index("--config") + 1] if argv.index("--config") + 1 < len(argv) else ""
        if not Path(path).is_file():
            raise ValueError(f"--config {path!r} is not a file. Give the path of a YAML file.")
        content = yaml.safe_load(Path(path).read_text()) or {}
        launch.update({key: value for key, value in content.items() if key in known})
    script: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in known:
            launch[name] = value if equals else next(words, "")
        else:
            script.append(word)
    if "accelerate_config" in launch:
        launch = {"config_file": accelerate_config_file(str(launch.pop("accelerate_config"))), **launch}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in launch.items() if value != ""]
    return flags, script


def launch(argv: list[str]) -> int:
    """Run the training script under `accelerate launch`, with the launcher's arguments taken out of `argv`."""
    launcher, script = split_arguments(argv)
    if "-h" in script or "--help" in script:
        make_parser("trl-entropy grpo").print_help()
        return 0
    refuse_unknown_arguments(make_parser("trl-entropy grpo").parse_known_args(_without_config(script))[1])
    # quiet: the script says itself what went wrong; the launcher's own traceback after it would only bury that
    words = [*launcher, "--quiet", "--module", "trl_entropy.train", *script]
    launch_command(launch_command_parser().parse_args(words))
    return 0


def _without_config(argv: list[str]) -> list[str]:
    if "--config" not in argv:
        return argv
    at = argv.index("--config")
    return argv[:at] + argv[at + 2 :]
