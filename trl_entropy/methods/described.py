"""The tables of the documentation, made from what the methods declare about themselves."""

from collections.abc import Iterable
from dataclasses import fields
from itertools import combinations
from typing import Any

from .. import metrics
from . import CONTROLLERS, METHODS, controllers_on, methods_on
from .base import Method, defaults, overrides


def methods_table() -> str:
    """One row a method or controller: what it changes, when to use it, its switch, its cost."""
    rows = [
        (f"**{part.name}**{_source(part)}", part.summary[0], part.summary[1], f"`{part.switch}`", part.summary[2])
        for part in (*METHODS, *CONTROLLERS)
    ]
    return table(("method", "what it changes", "when to use it", "argument", "cost"), rows)


def arguments_table(arguments: type, without: Iterable[str] = ()) -> str:
    """One row an argument: default, what is allowed, the paper's value, what it does."""
    rows = []
    for field in fields(arguments):
        if field.name not in without:
            declared = field.metadata["help"]
            paper = "" if declared.paper is None else f"`{_yaml(declared.paper)}`"
            rows.append((f"`{field.name}`", f"`{_yaml(field.default)}`", declared.wanted, paper, str(declared)))
    return table(("argument", "default", "allowed", "paper", "what it does"), rows)


def all_arguments() -> str:
    """The arguments of every method and controller, each under its name; shared ones once."""
    parts, seen = [], set()
    for part in (*METHODS, *CONTROLLERS):
        names = set(defaults(part.Arguments))
        if names - seen:
            parts.append(f"**{part.name}**{_source(part)}\n\n{arguments_table(part.Arguments, seen)}")
        seen |= names
    return "\n\n".join(parts)


def metrics_table(of: Iterable[metrics.Metric]) -> str:
    """One row a logged key."""
    unique = {metric.key: metric for metric in of}
    return table(("key", "unit", "what it is"), [(f"`{m.key}`", m.unit, m.formula) for m in unique.values()])


def method_metrics() -> str:
    """All keys that methods and controllers log."""
    return metrics_table(metric for part in (*METHODS, *CONTROLLERS) for metric in part.metrics)


def combinations_table() -> str:
    """Which methods exclude each other, and why."""
    rows = [(f"{a.name} and {b.name}", why) for a, b in combinations(METHODS, 2) if (why := excluded(a, b))]
    return table(("not together", "because"), rows)


def excluded(first: type[Method], second: type[Method]) -> str | None:
    """Why two methods cannot be on together; None where they can."""
    if first.replaces_advantage and second.replaces_advantage:
        return "each replaces the advantages of a prompt, so that the last would undo the others"
    if first.answers and first.answers == second.answers:
        return f"they are two answers to {first.answers}"
    return None


def active(args: Any) -> list[str]:
    """A line for each method and controller that the arguments switch on: what it changes, and its arguments."""
    return [
        f"{part.name}: {part.summary[0]}. "
        + ", ".join(f"{name}={_yaml(getattr(args, name))}" for name in defaults(part.Arguments))
        for part in (*methods_on(args), *controllers_on(args))
    ]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def acts_in(method: type[Method]) -> str:
    """The moments in which a method acts, for `trl-entropy methods`."""
    moments = {"group_advantages": "prompt", "select": "selection", "shape": "token weight", "loss": "added loss"}
    return ", ".join(word for hook, word in moments.items() if overrides(method, hook))


def _source(part: Any) -> str:
    return f" ([{part.paper.id}](https://arxiv.org/abs/{part.paper.id}))" if part.paper else ""


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
