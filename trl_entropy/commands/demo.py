"""`trl-entropy demo`: see on this computer, in minutes, what GRPO does to entropy and what entropy control changes."""

import argparse
from pathlib import Path


_DESCRIPTION = """\
Trains a tiny model on arithmetic puzzles with plain GRPO and with entropy control, side by side on CPU cores, and
evaluates both on held-out puzzles. Writes one picture, a table, the figures as JSON and the trained models. Nothing is
downloaded. The same seed gives the same figures on the same machine. It is a small study: stopped, it goes on where it
was, and `trl-entropy study` takes files of your own."""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add `demo` and its arguments."""
    parser = subparsers.add_parser(
        "demo",
        help="train a tiny model with and without entropy control, in minutes on a CPU",
        description=_DESCRIPTION,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    methods = "one or more of plain, maxrl, bonus, siren, clip_cov, kl_cov"
    add("--methods", nargs="+", default=["plain", "maxrl"], metavar="METHOD", help=methods)
    add("--seeds", nargs="+", type=int, default=[0], metavar="N", help="seeds; each method runs with each")
    add("--batches", type=int, default=200, help="batches a run trains for, each of two optimizer steps")
    add("--evaluations", type=int, default=10, help="evaluations a run, evenly spaced, the last at its end")
    add("--output-dir", "--output_dir", type=Path, default=Path("demo_output"), help="where everything is written")
    cache = "where the warmed-up model is kept; None: the user's cache folder"
    add("--cache-dir", "--cache_dir", type=Path, help=cache)
    add("--jobs", type=int, help="runs at a time, one thread each; None: one a core")
    add("--puzzles", type=int, help="evaluate on this many puzzles of the split; None: all")
    add("--split", default="heldout", help="heldout, or selection when choosing settings")
    prompts = "prompts a batch, with 16 completions each"
    add("--prompts-per-batch", "--prompts_per_batch", type=int, default=48, help=prompts)
    add("--warmup-steps", "--warmup_steps", type=int, default=400, help="steps of the supervised warm-up")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; 1 when a run fails, 130 on Ctrl-C. Arguments out of range raise `ValueError`."""
    from dataclasses import replace

    from rich.console import Console

    from ..demo.demo_run import demo_study, run_demo

    study = demo_study(
        args.output_dir,
        args.methods,
        args.seeds,
        batches=args.batches,
        evaluations=args.evaluations,
        splits=(args.split,),
        problems=args.puzzles,
        prompts_per_batch=args.prompts_per_batch,
        warmup={"steps": args.warmup_steps},
    )
    return run_demo(replace(study, cache_dir=args.cache_dir), args.jobs, Console())
