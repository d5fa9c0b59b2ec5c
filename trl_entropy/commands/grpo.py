"""`trl-entropy grpo`: train, as `trl grpo` does, with the arguments of entropy control."""

import argparse


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command; its arguments are parsed by TRL's parser, see [`run_argv`]."""
    subparsers.add_parser(
        "grpo", help="train with GRPO and entropy control (arguments as in `trl grpo`)", add_help=False
    )


def run_argv(argv: list[str]) -> int:
    """Launch the training script with these arguments.

    A file that cannot be read is refused before TRL is imported.
    """
    from ..script.config_file import config_argument, read_config

    path, _ = config_argument(argv)
    if path is not None:
        read_config(path)
    from ..script.launch import launch

    return launch(argv)
