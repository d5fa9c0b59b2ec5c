"""`trl-entropy push`: upload a saved run to the Hub, for the first time or again after a push that failed."""

import argparse
import sys


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser("push", help="upload a saved run to the Hub")
    parser.add_argument("run_dir", metavar="RUN", help="the run's output_dir, or one of its checkpoints")
    parser.add_argument("--repo", help="USER/NAME; by default that of the push that failed, else the folder's name")
    parser.add_argument(
        "--private", action=argparse.BooleanOptionalAction, help="visibility of a repository created for it"
    )
    parser.add_argument("--revision", help="branch to push to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Push; 0 when it has arrived, 1 with the reason when not."""
    from dataclasses import replace

    from ..hub.publish import Destination, PushFailedError, push_folder

    given = {"repo_id": args.repo, "private": args.private, "revision": args.revision}
    destination = replace(
        Destination.remembered(args.run_dir), **{name: value for name, value in given.items() if value is not None}
    )
    try:
        print(f"Pushed to {push_folder(args.run_dir, destination)}")
    except PushFailedError as error:
        print(f"trl-entropy: {error}", file=sys.stderr)
        return 1
    return 0
