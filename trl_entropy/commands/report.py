"""`trl-entropy report RUN...`: one self-contained HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the `report` command to a parser's subcommands."""
    parser = subparsers.add_parser(
        "report",
        help="turn runs into one self-contained HTML page",
        description=(
            "Turn the folders of one or several runs into one HTML page that needs no network: what was learned, "
            "entropy and score, the entropy law, pass@k, what the method did, a comparison with intervals over seeds, "
            "settings, and the completions token by token."
        ),
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder or log file, or a folder with runs at any depth"
    )
    parser.add_argument("--out", type=Path, default=None, help="the HTML file (default: report.html in the first run)")
    parser.add_argument("--title", default=None, help="title of the page (default: the experiments' names)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page. Returns 0 when everything was read, 1 when something was not, 2 when nothing was."""
    from ..report import write_report
    from ..runlog import RunLogError

    first = Path(args.runs[0])
    out = args.out or (first if first.is_dir() else first.parent) / "report.html"
    try:
        written, problems = write_report(args.runs, out, args.title)
    except (RunLogError, OSError) as error:
        print(f"trl-entropy report: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"trl-entropy report: {problem}", file=sys.stderr)
    print(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
    return 1 if problems else 0
