"""`trl-entropy`: one command, its subcommands in `commands/`."""

import argparse
import importlib
import os
import sys

from .script.config_file import words_at_home
from .script.quiet import hush


COMMANDS = ("demo", "study", "grpo", "eval", "law", "report", "watch", "push", "init", "doctor", "methods")


def make_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand registered."""
    parser = argparse.ArgumentParser(
        prog="trl-entropy", description="Entropy control for TRL's GRPO: SIREN, Clip-Cov and KL-Cov."
    )
    from . import __version__

    parser.add_argument("--version", action="version", version=f"trl_entropy {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"trl_entropy.commands.{name}").register(subparsers)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; return its exit status. Bad input ends in one line on stderr and status 2."""
    argv = words_at_home(sys.argv[1:] if argv is None else argv)
    hush()
    try:
        if argv[:1] == ["grpo"]:  # its arguments are TRL's, parsed by TRL's own parser
            from .commands import grpo

            return grpo.run_argv(argv[1:])
        args = make_parser().parse_args(argv)
        if args.command is None:
            make_parser().print_help()
            return 0
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, FileNotFoundError) as error:
        print(f"trl-entropy: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
