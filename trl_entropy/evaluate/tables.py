"""Results as tables: in Markdown, and for a screen."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table


_DIFFERENCE = {"mean": "difference", "low": "low", "high": "high"}
_SHARES = ("avg@", "pass@", "mg-pass@", "maj@", "truncated", "no_answer")


def markdown(results: dict[str, Any]) -> str:
    """The figures with their 95 % intervals, a row a model and benchmark; then the comparisons."""
    return "\n".join(_figures(results["figures"])) + "\n" + "\n".join(_comparisons(results["comparisons"]))


def _figures(groups: list[dict[str, Any]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for group in groups for name in group["figures"]))
    seeds = any(len(group["seeds"]) > 1 for group in groups)
    head = ["model", "benchmark", *(["seeds"] if seeds else []), *map(_title, names)]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for group in groups:
        cells = [group["name"], group["benchmark"], *([", ".join(map(str, group["seeds"]))] if seeds else [])]
        cells += [_cell(name, group["figures"].get(name)) for name in names]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "Mean over problems [95 % bootstrap interval]; shares in %, seeds averaged problem by problem."


def terminal(results: dict[str, Any]) -> list[Table]:
    """The figures for a screen: a table a benchmark, a row a figure, a column a model; then the comparisons."""
    tables = []
    for benchmark in dict.fromkeys(group["benchmark"] for group in results["figures"]):
        groups = [group for group in results["figures"] if group["benchmark"] == benchmark]
        shown = Table("", *(group["name"] for group in groups), title=benchmark)
        for name in dict.fromkeys(name for group in groups for name in group["figures"]):
            unit = ", %" if name.startswith(_SHARES) else ""
            cells = (_cell(name, group["figures"].get(name)) for group in groups)
            shown.add_row(_title(name) + unit, *cells)
        tables.append(shown)
    if results["comparisons"]:
        shown = Table("against", "benchmark", "figure", "difference", "p", title="differences, paired by problem")
        for row in results["comparisons"]:
            cell = _cell(row["figure"], {k: row[v] for k, v in _DIFFERENCE.items()}, signed=True)
            pair = f"{row['model']} - {row['baseline']}"
            shown.add_row(pair, row["benchmark"], row["figure"], cell, f"{row['p']:.3g}")
        tables.append(shown)
    return tables


def _comparisons(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield "| model | against | benchmark | figure | difference | p (paired) |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        cell = _cell(row["figure"], {k: row[v] for k, v in _DIFFERENCE.items()}, signed=True)
        names = " | ".join(row[key] for key in ("model", "baseline", "benchmark", "figure"))
        yield f"| {names} | {cell} | {row['p']:.3g} |"
    yield ""
    yield "Differences over the same problems [95 % bootstrap interval]; p of the sign-flip test, uncorrected."


def _title(name: str) -> str:
    return "entropy (nats)" if name == "entropy" else name.replace("_", " ")


def _cell(name: str, figure: dict[str, float] | None, signed: bool = False) -> str:
    if figure is None:
        return "-"
    share = name.startswith(_SHARES)
    scale, digits = (100, 1) if share else (1, 0 if name == "tokens" else 2 if name != "entropy" else 3)
    sign = "+" if signed else ""
    mean, low, high = (f"{scale * figure[key]:{sign}.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
