"""`trl-entropy doctor`: what a configuration will do, without loading a model."""

import argparse
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what a configuration will do, without loading a model",
        usage="trl-entropy doctor CONFIG [--num_processes N] [--name value ...]",
        add_help=False,
        prefix_chars="\0",  # every word is ours to sort, so that arguments may stand before the file
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG [--name value]",
        help="a YAML file, as for `trl-entropy grpo --config`, and further arguments of training or of the launcher; "
        "--num_processes N plans for N devices",
    )
    parser.set_defaults(run=run, show_help=parser.print_help)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when the configuration would be refused."""
    if {"-h", "--help"} & set(args.words):
        args.show_help()
        return 0
    path, overrides = split(args.words)

    from ..plan.findings import examine, render
    from ..plan.planned import read_plan

    try:
        plan = read_plan(path, overrides, elsewhere=True)
    except ValueError as error:
        print(f"trl-entropy: {path} would be refused: {error}", file=sys.stderr)
        return 1
    print(render(examine(plan)))
    for refusal in plan.refusals:
        print(f"trl-entropy: on this machine {path} would be refused: {refusal}", file=sys.stderr)
    return 1 if plan.refusals else 0


def split(words: list[str]) -> tuple[str, list[str]]:
    """The configuration's path and the other words, in any order; `--config` may stand before the path.

    Raises:
        ValueError: when there is no path among them.

    Example:
        >>> split(["--num_processes", "8", "siren.yaml", "--use_vllm=false"])
        ('siren.yaml', ['--num_processes', '8', '--use_vllm=false'])
    """
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    free = [i for i, word in enumerate(words) if not word.startswith("--") and not _is_value(words, i)]
    files = [i for i, word in enumerate(words) if Path(word).is_file()]
    # a value may look free, as in `--reward_funcs a b FILE`, and the path like a value, as in `--use_vllm FILE`
    at = [*(i for i in free if i in files), *free, *files]
    if not at:
        raise ValueError("doctor needs the path of a YAML file: trl-entropy doctor CONFIG.")
    return words[at[0]], [word for i, word in enumerate(words) if i != at[0] and word != "--config"]


def _is_value(words: list[str], at: int) -> bool:
    before = words[at - 1] if at else ""
    return before.startswith("--") and "=" not in before and before != "--config"
