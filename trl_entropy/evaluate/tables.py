"""Results as a Markdown table."""

from collections.abc import Iterator
from typing import Any


_SHARES = ("avg@", "pass@", "mg-pass@", "maj@", "truncated", "no_answer")


def markdown(results: dict[str, Any]) -> str:
    """The figures with their 95 % intervals, a row a model and benchmark; then the comparisons."""
    return "\n".join(_figures(results["figures"])) + "\n" + "\n".join(_comparisons(results["comparisons"]))


def _figures(groups: list[dict[str, Any]]) -> Iterator[str]:
    names = list(dict.fromkeys(name for group in groups for name in group["figures"]))
    seeds = any(len(group["seeds"]) > 1 for group in groups)
    titles = ("entropy (nats)" if name == "entropy" else name.replace("_", " ") for name in names)
    head = ["model", "benchmark", *(["seeds"] if seeds else []), *titles]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for group in groups:
        cells = [group["name"], group["benchmark"], *([", ".join(map(str, group["seeds"]))] if seeds else [])]
        cells += [_cell(name, group["figures"].get(name)) for name in names]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "Mean over problems [95 % bootstrap interval]; shares in %, seeds averaged problem by problem."


def _comparisons(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield "| model | against | benchmark | figure | difference | p (paired) |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        cell = _cell(row["figure"], {"mean": row["difference"], "low": row["low"], "high": row["high"]}, signed=True)
        names = " | ".join(row[key] for key in ("model", "baseline", "benchmark", "figure"))
        yield f"| {names} | {cell} | {row['p']:.3g} |"
    yield ""
    yield "Differences over the same problems [95 % bootstrap interval]; p of the sign-flip test, uncorrected."


def _cell(name: str, figure: dict[str, float] | None, signed: bool = False) -> str:
    if figure is None:
        return "-"
    share = name.startswith(_SHARES)
    scale, digits = (100, 1) if share else (1, 0 if name == "tokens" else 2 if name != "entropy" else 3)
    sign = "+" if signed else ""
    mean, low, high = (f"{scale * figure[key]:{sign}.{digits}f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
