"""The demo's table, for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from .reading import label


COLUMNS = ("pass@1", "pass@16", "maj@16", "distinct@16")


def results_table(results: dict[str, Any]) -> Table:
    """Start and end of every method: figure and 95 % interval, and the share of the entropy that is left."""
    puzzles, split = results["settings"]["puzzles"], results["settings"]["split"].replace("heldout", "held-out")
    table = Table(title=f"Countdown chain, {puzzles} {split} puzzles, 16 samples each")
    table.add_column("policy", no_wrap=True)
    for name in (*COLUMNS, "entropy"):
        table.add_column(name, justify="right", no_wrap=True)
    one = {"mean": 1.0, "interval": None}
    table.add_row("start", *(_cell(results["start"][name]) for name in COLUMNS), _cell(one), end_section=True)
    for method, figures in results["methods"].items():
        table.add_row(
            label(method), *(_cell(figures["end"][name]) for name in COLUMNS), _cell(figures["entropy_ratio"])
        )
    table.caption = "figure and 95 % bootstrap interval over puzzles; entropy: share of the start's"
    return table


def _cell(figure: dict[str, Any]) -> str:
    if figure["interval"] is None:
        return f"{figure['mean']:.2f}\n"
    low, high = figure["interval"]
    return f"{figure['mean']:.2f}\n[dim]{low:.2f}–{high:.2f}[/dim]"
