"""The results of a check: one JSON object a line, on disk before the next is measured, and the page made of them.

Everything is in `results.jsonl`; `summary.md` can be written again from it at any time. Also a plugin of pytest, which
records every test as it ends.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


RESULTS, SUMMARY, LOG = "results.jsonl", "summary.md", "log.txt"
Line = dict[str, Any]


def append(path: Path, line: Line) -> None:
    """Add a line that outlives the process, whatever kills it next; lines of several processes do not mix."""
    data = (json.dumps({"at": round(time.time(), 2), **line}, default=str) + "\n").encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)


def record(what: str, **figures: Any) -> None:
    """Called by a stage: `what` was measured, and its figures. Outside of a check they are printed."""
    line = {"event": "figures", "stage": os.environ.get("GPU_CHECK_STAGE", ""), "what": what, **figures}
    if folder := os.environ.get("GPU_CHECK_OUT"):
        append(Path(folder) / RESULTS, line)
    print(json.dumps(line, default=str), flush=True)


def goal(what: str, measured: float, at_most: float) -> None:
    """A figure with its bound."""
    record(what, kind="goal", measured=measured, at_most=at_most, reached=bool(measured <= at_most))


def skip(reason: str) -> None:
    """End the stage: there is nothing to do here, and why."""
    record(reason, kind="skipped")
    sys.exit(0)


def attempt(what: str, do: Callable[[], Any]) -> Any:
    """One part of a stage: a part that fails is recorded, and the others go on; the stage then ends with 1."""
    try:
        return do()
    except Exception as error:
        record(what, kind="failed", error=f"{type(error).__name__}: {error}"[:2000])
        FAILED.append(what)
        return None


FAILED: list[str] = []


def finish() -> None:
    sys.exit(1 if FAILED else 0)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        error = {} if report.outcome == "passed" else {"error": str(report.longrepr)[-1500:]}
        kind = {"passed": "test", "skipped": "test skipped"}.get(report.outcome, "failed")
        record(report.nodeid.split("::")[-1], kind=kind, seconds=round(report.duration, 2), **error)


def read(folder: Path) -> list[Line]:
    """All whole lines; the last one may have been cut off with the machine."""
    lines = []
    for text in (folder / RESULTS).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def states(lines: list[Line]) -> dict[str, Line]:
    """Of every planned stage its title, limit, state, seconds and what it recorded."""
    plan = next(line for line in lines if line["event"] == "plan")
    found = {
        name: {"title": title, "state": "not reached", "seconds": None, "figures": []}
        for name, title in plan["stages"].items()
    }
    for line in lines:
        stage = found.get(line.get("stage", ""))
        if stage is None:
            continue
        if line["event"] == "begin":
            stage |= {"state": "not finished", "limit": line["limit"]}
        elif line["event"] == "end":
            stage |= {"state": line["state"], "seconds": line["seconds"], "cpu": line["cpu"]}
        else:
            stage["figures"].append(line)
    for stage in found.values():
        kinds = {line.get("kind") for line in stage["figures"]}
        if stage["state"] == "passed" and ("skipped" in kinds or kinds == {"test skipped"}):
            stage["state"] = "skipped"
    return found


def render(folder: Path) -> str:
    """The page: stages, goals, failures, figures."""
    lines = read(folder)
    found = states(lines)
    plan = next(line for line in lines if line["event"] == "plan")
    parts = [f"Command: `{plan['command']}`, {time.strftime('%Y-%m-%d %H:%M', time.gmtime(plan['at']))} UTC."]
    if plan["dry"]:
        parts.append("A dry run on a CPU with tiny sizes: it shows that every stage runs, and measures nothing.")
    rows = [
        [name, stage["title"], stage["state"], _short(stage["seconds"]), str(len(stage["figures"]))]
        for name, stage in found.items()
    ]
    parts.append(_table(["stage", "what", "state", "seconds", "results"], rows))
    figures = [(name, line) for name, stage in found.items() for line in stage["figures"]]
    goals = [
        [name, line["what"], _short(line["measured"]), _short(line["at_most"]), "yes" if line["reached"] else "no"]
        for name, line in figures
        if line.get("kind") == "goal"
    ]
    if goals:
        parts += ["**Goals**", _table(["stage", "figure", "measured", "at most", "reached"], goals)]
    for name, line in figures:
        if line.get("kind") in ("failed", "skipped"):
            parts.append(f"* {name}, {line['kind']}: {line['what']}\n\n      " + str(line.get("error", ""))[-600:])
    for stage in found.values():
        plain = [line for line in stage["figures"] if "kind" not in line]
        if plain:
            parts += [f"**{stage['title']}**", *_tables(plain)]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def write_summary(folder: Path) -> None:
    """Replace the page as a whole: a reader, and a kill, find the old one or the new one."""
    new = folder / (SUMMARY + ".new")
    new.write_text(render(folder))
    new.replace(folder / SUMMARY)


def _tables(lines: list[Line]) -> list[str]:
    """Results of the same figures share a table."""
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for line in lines:
        figures = {key: value for key, value in line.items() if key not in ("at", "event", "stage")}
        tables.setdefault(tuple(figures), []).append([_short(value) for value in figures.values()])
    return [_table(list(columns), rows) for columns, rows in tables.items()]


def _table(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *rows])


def _short(value: Any) -> str:
    if value is None:
        return ""
    return (f"{value:.4g}" if isinstance(value, float) else str(value)).replace("|", "\\|").replace("\n", " ")
