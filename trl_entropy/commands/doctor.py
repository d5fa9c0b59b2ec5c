"""`trl-entropy doctor`: what a configuration will do, without loading a model."""

import argparse
import sys


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser("doctor", help="say what a configuration will do, without loading a model")
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, as for `trl-entropy grpo --config`")
    parser.add_argument(
        "overrides",
        nargs=argparse.REMAINDER,
        metavar="--name value",
        help="further arguments of training; --num_processes N plans for N devices",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when the configuration would be refused."""
    from ..doctor import examine, render
    from ..plan import read_plan

    launcher = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog="trl-entropy doctor")
    launcher.add_argument("--num_processes", type=int)
    devices, overrides = launcher.parse_known_args(args.overrides)
    try:
        plan = read_plan(args.config, overrides, devices.num_processes)
    except ValueError as error:
        print(f"trl-entropy: {args.config} would be refused: {error}", file=sys.stderr)
        return 1
    print(render(examine(plan)))
    return 0
