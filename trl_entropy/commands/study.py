"""`trl-entropy study`: a matrix of tasks, methods, settings and seeds as one queue that can be stopped and resumed."""

import argparse
from pathlib import Path


_DESCRIPTION = """\
Carries out every run of a study file, several at a time. Started again, it goes on from the runs' checkpoints and does
no finished run twice; a run that fails is named, and the others go on. See docs/evidence.md and configs/study/."""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add `study` and its arguments."""
    parser = subparsers.add_parser(
        "study", help="run a matrix of methods and seeds, resumable, and tabulate it", description=_DESCRIPTION
    )
    add = parser.add_argument
    add("study", type=Path, metavar="STUDY.yaml", help="the study: tasks, methods, settings, seeds")
    add("--jobs", type=int, help="runs at a time, one thread each; by default one a core, with a GPU one")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where the runs train (default: cpu)")
    add("--dry_run", "--dry-run", action="store_true", help="say what there is to do and how many hours it takes")
    add("--output", type=Path, help="where run folders go (default: runs/NAME)")
    add("--results", type=Path, help="where results go (default: results/NAME)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the study; 1 when a run failed, 130 on Ctrl-C. A study that cannot be run raises `ValueError`."""
    from rich.console import Console

    from ..study.matrix import read_study
    from ..study.run_arguments import check
    from ..study.session import carry_out, describe

    study = read_study(args.study, args.output, args.results)
    console = Console()
    if args.dry_run:
        check(study)
        describe(study, args.jobs, args.device, console)
        return 0
    return carry_out(study, args.jobs, args.device, console)
