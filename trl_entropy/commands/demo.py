"""`trl-entropy demo`: see on this computer, in minutes, what GRPO does to entropy and what entropy control changes."""

import argparse
from pathlib import Path


_DESCRIPTION = """\
Trains a tiny model on arithmetic puzzles with plain GRPO and with entropy control, side by side on CPU cores, and
evaluates both on held-out puzzles. Writes one picture, a table, the figures as JSON and the trained models. Nothing is
downloaded. The same seed gives the same figures on the same machine."""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add `demo` and its arguments."""
    parser = subparsers.add_parser(
        "demo",
        help="train a tiny model with and without entropy control, in minutes on a CPU",
        description=_DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    methods = "one or more of plain, bonus, siren, clip_cov, kl_cov"
    add("--methods", nargs="+", default=["plain", "siren"], metavar="METHOD", help=methods)
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds; each method runs with each")
    add("--batches", type=int, default=120, help="batches a run trains for, each of two optimizer steps")
    add("--evaluations", type=int, default=6, help="evaluations a run, evenly spaced, the last at its end")
    add("--output-dir", "--output_dir", type=Path, default=Path("demo_output"), help="where everything is written")
    cache = "where the warmed-up model is kept; None: the user's cache folder"
    add("--cache-dir", "--cache_dir", type=Path, help=cache)
    add("--jobs", type=int, help="runs at a time, one thread each; None: one a core")
    add("--puzzles", type=int, help="evaluate on this many puzzles of the split; None: all")
    add("--split", default="heldout", help="heldout, or selection when choosing settings")
    add(
        "--prompts-per-batch",
        "--prompts_per_batch",
        type=int,
        default=48,
        help="prompts a batch, with 16 completions each",
    )
    add("--warmup-steps", "--warmup_steps", type=int, default=400, help="steps of the supervised warm-up")
    change = "train a method with another argument, such as siren.siren_coef=0.5"
    add("--set", nargs="+", default=[], metavar="METHOD.ARGUMENT=VALUE", help=change)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 1 when a run fails, 130 on Ctrl-C. Arguments out of range raise `ValueError`."""
    from ..demo.settings import DemoSettings, read_changes
    from ..tasks.warmup import WarmupSettings

    settings = DemoSettings(
        output_dir=args.output_dir,
        methods=tuple(args.methods),
        seeds=tuple(args.seeds),
        batches=args.batches,
        evaluations=args.evaluations,
        split=args.split,
        puzzles=args.puzzles,
        prompts_per_batch=args.prompts_per_batch,
        jobs=args.jobs,
        cache_dir=args.cache_dir,
        warmup=WarmupSettings(steps=args.warmup_steps),
        changes=read_changes(args.set),
    )

    from rich.console import Console
    from transformers.utils import logging

    from ..demo import run_demo
    from ..demo.processes import RunFailedError

    logging.disable_progress_bar()  # one display of progress is enough
    errors = Console(stderr=True)
    try:
        run_demo(settings)
    except RunFailedError as error:
        errors.print(f"trl-entropy demo: {error}", highlight=False, soft_wrap=True, markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("trl-entropy demo: stopped; a finished warm-up stays in the cache", highlight=False)
        return 130
    return 0
