"""`trl-entropy law RUN...`: fit the entropy law to runs, with a table, a figure and JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from ..law.points import RunLaw


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the `law` command to a parser's subcommands."""
    parser = subparsers.add_parser(
        "law",
        help="fit R = -a exp(H) + b to runs and forecast their ceiling",
        description=(
            "Fit the entropy law R = -a exp(H) + b (arXiv 2505.22617) to one or several runs: coefficients with "
            "intervals, a verdict, and the error of a forecast from the first part of the run."
        ),
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help=(
            "a run's folder, a folder of such, trainer_state.json, JSONL, CSV, or a TensorBoard, W&B offline or "
            "trackio file"
        ),
    )
    parser.add_argument(
        "--out", type=Path, default=None, metavar="STEM", help="write STEM.png, STEM.svg and STEM.json"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    first = "default: the points of entropy_reward.jsonl where there are 8, else"
    parser.add_argument("--entropy", default=None, metavar="KEY", help=f"metric to use as H ({first} entropy)")
    parser.add_argument("--reward", default=None, metavar="KEY", help=f"metric to use as R ({first} reward)")
    parser.add_argument(
        "--forecast", type=float, default=0.15, metavar="SHARE", help="first share of a run to forecast from (0.15)"
    )
    parser.add_argument(
        "--average", type=int, default=1, metavar="N", help="average N successive points into one first (1)"
    )
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals (0.95)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit, print and draw. Returns 0 when every run was fitted, 1 when some were not, 2 when none was."""
    from ..law.points import law_of_run
    from ..runlog import RunLogError, read_runs, unexpected

    for name, value in (("--forecast", args.forecast), ("--confidence", args.confidence)):
        if not 0 < value < 1:
            print(f"trl-entropy law: {name} is {value}: give a number strictly between 0 and 1.", file=sys.stderr)
            return 2
    laws, failed = [], 0

    def say(problem: object) -> None:
        print(f"trl-entropy law: {problem}", file=sys.stderr)

    for path in args.runs:
        try:
            found = read_runs(path)
        except Exception as error:
            say(error if isinstance(error, RunLogError) else f"{path}: {type(error).__name__} ({error}); not read")
            failed += 1
            continue
        for item in found:
            for problem in item.problems:
                say(problem)
            try:
                laws.append(law_of_run(item, args.entropy, args.reward, args.forecast, args.confidence, args.average))
            except Exception as error:  # whatever a foreign log holds, the other runs are fitted
                say(error if isinstance(error, ValueError) else unexpected(item, error))
                failed += 1
    if not laws:
        return 2
    report = json.dumps([law.as_dict() for law in laws], indent=2, allow_nan=False)
    print(report if args.json else table(laws))
    if args.out is not None:
        _write(args.out, laws, report)
    return 1 if failed else 0


def table(laws: list[RunLaw]) -> str:
    """The fits as text: a line of numbers for each run, and under it every reason against the fit."""
    width = max(len("run"), *(len(law.run.name) for law in laws))
    lines = [
        f"{'run':{width}}  {'points':>6}  {'a':>24}  {'b':>24}  {'ceiling b-a':>24}  {'R2':>5}  verdict",
    ]
    for law in laws:
        fit = law.fit
        cells = ((fit.a, fit.a_interval), (fit.b, fit.b_interval), (fit.ceiling, fit.ceiling_interval))
        shown = "  ".join(f"{_with_interval(*cell):>24}" for cell in cells)
        lines.append(f"{law.run.name:{width}}  {fit.points:>6}  {shown}  {fit.r2:>5.2f}  {fit.verdict}")
        lines += [f"{'':{width}}  - {reason}" for reason in fit.reasons]
        if law.run.method not in ("plain", "unknown"):
            lines.append(f"{'':{width}}  - this run controls entropy ({law.run.method}): the law is one of plain runs")
        if law.forecast is not None:
            forecast = law.forecast
            lines.append(
                f"{'':{width}}  forecast from the first {forecast.cut} points ({forecast.fit.verdict}): ceiling "
                f"{forecast.fit.ceiling:.3g}, error on the rest RMSE {forecast.rmse:.3g}, mean "
                f"{forecast.overshoot:+.3g} (paper: 0.9 % of score)"
            )
        lines.append(f"{'':{width}}  points: {law.source}, from {law.run.source}")
    return "\n".join(lines)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    if interval[0] != interval[0]:
        return f"{value:.3g}"
    return f"{value:.3g} [{interval[0]:.3g}, {interval[1]:.3g}]"


def _write(stem: Path, laws: list[RunLaw], report: str) -> None:
    from ..plots.law_picture import LawLine, plot_law
    from ..plots.style import MOST_LINES, paper_style, save_figure, series_style

    if len(laws) > MOST_LINES:
        print(f"trl-entropy law: the first {MOST_LINES} of {len(laws)} runs are drawn.", file=sys.stderr)
    lines = [LawLine(x.entropy, x.reward, x.fit, series_style(i, x.run.name), x.forecast) for i, x in enumerate(laws)]
    with paper_style():
        written = save_figure(plot_law(lines[:MOST_LINES]), stem)
    json_path = written[0].with_suffix(".json")
    json_path.write_text(report + "\n", encoding="utf-8")
    print("written: " + ", ".join(str(path) for path in (*written, json_path)), file=sys.stderr)
