"""`trl-entropy init`: copy a commented configuration with a method's published settings."""

import argparse
import sys
from pathlib import Path


_WHICH = """
Which one: maxrl where rewards are 0 or 1, and sample the trained model cooler (temperature 0.6) where one answer
has to be right; pass_at_k with pass_at_k_mix 0.7 where pass@1 at temperature 1 counts; siren on-policy, and where a
bonus would explode.
Measured, and how far it carries: docs/evidence.md"""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser("init", help="write a commented configuration with a paper's settings")
    parser.add_argument("name", nargs="?", help="which one, in any spelling; left out, they are listed")
    parser.add_argument("--size", help="model and launch settings for 0.5b, 1.5b, 3b, 7b, 14b or 32b")
    parser.add_argument(
        "--gpu-memory",
        "--gpu_memory",
        type=float,
        metavar="GB",
        help="choose model and batch for one GPU of this size",
    )
    parser.add_argument("--lora", action="store_true", help="with --gpu-memory: train adapters, so that more fits")
    parser.add_argument("--output", type=Path, help="file to write; by default the standard output")
    parser.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the configuration, and on stderr what comes next; or list the configurations."""
    from ..plan.configuration import configuration, purpose, shipped

    if args.name is None:
        for name, path in shipped().items():
            print(f"{name:<18} {purpose(path)}")
        print(_WHICH, file=sys.stderr)
        return 0
    text = configuration(args.name, args.size, args.gpu_memory, args.lora)
    path = args.output
    if path is None:
        print(text, end="")
    else:
        if path.exists() and not args.force:
            raise ValueError(f"{path} is there already. Give another --output, or --force to overwrite it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"Written: {path}", file=sys.stderr)
    print(
        "Yours to change: model_name_or_path, dataset_name, reward_funcs, output_dir, max_steps, num_processes.\n"
        f"Next: trl-entropy doctor {path or 'FILE'}, then trl-entropy grpo --config {path or 'FILE'}",
        file=sys.stderr,
    )
    return 0
