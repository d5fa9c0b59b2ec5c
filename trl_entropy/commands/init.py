"""`trl-entropy init`: write a commented configuration with a method's published settings."""

import argparse
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser("init", help="write a commented configuration with a paper's settings")
    parser.add_argument("method", help="grpo, naive_bonus, siren, clip_cov or kl_cov")
    parser.add_argument("--size", default="7b", help="0.5b, 1.5b, 3b, 7b (default), 14b or 32b")
    parser.add_argument("--gpus", type=int, help="number of GPUs; by default what the size needs with 80 GB each")
    parser.add_argument("--output", type=Path, help="file to write; by default the standard output")
    parser.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the configuration, and on stderr what is the user's to change and what comes next."""
    from ..plan.configuration import YOURS, configuration

    text = configuration(args.method, args.size.lower(), args.gpus)
    path = args.output
    if path is None:
        print(text, end="")
    else:
        if path.exists() and not args.force:
            raise ValueError(f"{path} is there already. Give another --output, or --force to overwrite it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"Written: {path}", file=sys.stderr)
    written = {line.partition(":")[0] for line in text.splitlines()}
    print(
        f"Yours to change: {', '.join(name for name in YOURS if name in written)}. The rest is the paper's, or said "
        "to be ours.\n"
        f"Next: trl-entropy doctor {path or 'FILE'}, then trl-entropy grpo --config {path or 'FILE'}",
        file=sys.stderr,
    )
    return 0
