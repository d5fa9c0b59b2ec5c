"""`trl-entropy methods`: the methods and controllers, what turns them on, what they cost, what combines."""

import argparse


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser("methods", help="list the methods and controllers, and what combines")
    parser.add_argument("name", nargs="?", help="one of them, with its arguments and the paper's settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table, or one method."""
    from rich.console import Console
    from rich.table import Table

    from ..methods import CONTROLLERS, METHODS
    from ..methods.described import acts_in, excluded

    console = Console()
    if args.name:
        return _one(console, args.name)
    table = Table("method", "argument", "changes", "not with", "source", title="trl-entropy methods NAME says more")
    for method in METHODS:
        others = [other.name for other in METHODS if other is not method and excluded(method, other)]
        paper = method.paper.id if method.paper else ""
        table.add_row(method.name, method.switch, f"{method.summary[0]} ({acts_in(method)})", ", ".join(others), paper)
    for controller in CONTROLLERS:
        paper = controller.paper.id if controller.paper else ""
        table.add_row(controller.name, controller.switch, controller.summary[0], "", paper)
    console.print(table)
    return 0


def _one(console, name: str) -> int:
    from dataclasses import fields

    from ..methods import CONTROLLERS, METHODS
    from ..script.spelling import known_word

    every = (*METHODS, *CONTROLLERS)
    parts = {part.name: part for part in every} | {part.key: part for part in every}
    part = parts[known_word(name, parts, "a method or controller")]
    console.print(
        f"[bold]{part.name}[/bold] {part.summary[0]}. Use it when: {part.summary[1]}. Cost: {part.summary[2]}."
    )
    for field in fields(part.Arguments):
        declared = field.metadata["help"]
        paper = "" if declared.paper is None else f"; the paper: {declared.paper}"
        console.print(f"  {field.name} = {field.default}  ({declared.wanted or 'true or false'}{paper})", markup=False)
        console.print(f"      {declared}", markup=False)
    if getattr(part, "published", None):
        settings = ", ".join(f"{name}: {value}" for name, value in part.published.items())
        console.print(f"  published settings: {settings}", markup=False)
    return 0
