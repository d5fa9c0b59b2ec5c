"""What the benchmarks print, draw and write down."""

import argparse
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch


COLUMNS = (
    "head",
    "time, s",
    "CPU time, s",
    "x TRL",
    "floor / time",
    "nucleus, s",
    "peak, MiB",
    "peak, x TRL",
    "TFLOP/s",
    "GB/s",
)


def print_progress(text: str, last: bool = False) -> None:
    """One line, which on a terminal the next one overwrites unless this is the `last` of its kind."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + (text + "\n" if last else text[:100]))
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark has."""
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--quick", action="store_true", help="small sizes, and the documentation is left alone")
    parser.add_argument("--note", default="", help="a remark for the report, such as what else the machine was doing")
    parser.add_argument("--docs", type=Path, help="the report's folder; by default docs, with --quick runs/bench")


def report_folder(args: argparse.Namespace) -> Path:
    """Where the report goes: figures of a quick run are none, and must not replace those in the documentation."""
    return args.docs or (Path("runs/bench") if args.quick else Path(__file__).parents[1] / "docs")


def describe_machine(device: str, threads: int) -> str:
    """Processor, load and versions, in one sentence."""
    if device == "cuda":
        machine = torch.cuda.get_device_name()
    else:
        cpuinfo = Path("/proc/cpuinfo")
        names = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
        machine = f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {threads} threads"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "trl", "transformers"))
    load = f", load average at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Machine: {machine}{load}. Python {platform.python_version()}, {packages}."


def table(title: str, lines: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    """A Markdown table under a bold title."""
    rows = [columns, ["---"] + ["---:"] * (len(columns) - 1), *lines]
    return f"**{title}**\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def draw(panels: dict[str, tuple[list[int], dict[str, list[float]]]], path: Path, title: str) -> None:
    """Time against each panel's quantity, both logarithmic, one line a head."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, (label, (values, lines)) in zip(axes, panels.items(), strict=True):
        for style, (name, seconds) in zip(("k:", "C0o-", "C1s-"), lines.items(), strict=True):
            axis.loglog(values, seconds, style, base=2, label=name)
        axis.set_xlabel(label)
        axis.set_xticks(values, [f"{value:,}" for value in values])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write_section(path: Path, name: str, text: str) -> None:
    """Put `text` between the markers of this name, adding them at the end of the file where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    if start not in old:
        old = f"{old.rstrip()}\n\n{start}\n{end}\n"
    before, rest = old.split(start)
    after = rest.split(end)[1]
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")
