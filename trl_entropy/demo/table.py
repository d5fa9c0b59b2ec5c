"""The demo's table, for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from .reading import label


COLUMNS = ("pass@1", "pass@16", "maj@16", "distinct@16")


def results_table(results: dict[str, Any]) -> Table:
    """Start and end of every method: figure and 95 % interval, and the share of the entropy that is left."""
    split = results["split"].replace("heldout", "held-out")
    table = Table(title=f"{results['task']}, {results['problems']} {split} puzzles, 16 samples each")
    table.add_column("policy", no_wrap=True)
    for name in (*COLUMNS, "entropy"):
        table.add_column(name, justify="right", no_wrap=True)
    start = results["start"]
    ends = {label(name): method["path"][-1] for name, method in results["methods"].items()}
    for name, point in {"start": start, **ends}.items():
        kept = f"{point['entropy'] / start['entropy']:.2f}"
        table.add_row(name, *(_cell(point[key]) for key in COLUMNS), kept, end_section=name == "start")
    table.caption = "figure and 95 % bootstrap interval; entropy: share of the start's"
    return table


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['value']:.2f}\n[dim]{figure['low']:.2f}–{figure['high']:.2f}[/dim]"
