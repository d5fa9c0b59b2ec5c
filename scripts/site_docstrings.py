"""How the site reads docstrings: griffe, which reads the package without importing it, hands it over here.

An `Example:`, and a `>>>` outside of one, is code. `a, b: ...` describes each of several arguments. A name in
brackets, as in TRL's docstrings, is a link where the API pages show the name. An argument that is declared by
`argument(default, help, ...)` has that default.
"""

import re
from collections.abc import Iterator
from textwrap import indent
from typing import Any

import griffe


# A paragraph of an interactive session that stands in no section
SESSION = re.compile(r"(?ms)(?<=\n\n)>>> .*?(?=\n\n|\Z)")
SEVERAL = re.compile(r"(?m)^    (\w+(?:, \w+)+)(: .*(?:\n {5,}\S.*)*)")
BRACKETS = re.compile(r"\[`~?([\w.]+)`\](?![\[(])")


class Docstrings(griffe.Extension):
    """Mends the text of every docstring before it is parsed."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        addresses = {}
        for part in walk(pkg):
            addresses |= {str(name): f"{part.path}.{name}" for name in part.exports or ()}

        def link(match: re.Match) -> str:
            name = match[1].rpartition(".")[2]
            return f"[`{name}`][{addresses[name]}]" if name in addresses else f"`{name}`"

        for part in walk(pkg):
            if isinstance(part, griffe.Attribute) and isinstance(call := part.value, griffe.ExprCall):
                part.value = call.arguments[0] if str(call.function) == "argument" else call
            if part.docstring is not None:
                text = re.sub(r"(?m)^( *)Example:$", r"\1Examples:", part.docstring.value)
                text = SESSION.sub(lambda match: "Examples:\n" + indent(match[0], "    "), text)
                text = SEVERAL.sub(each, text)
                part.docstring.value = BRACKETS.sub(link, text)


def each(several: re.Match) -> str:
    """The description of several arguments, once for each."""
    return "\n".join(f"    {name}{several[2]}" for name in several[1].split(", "))


def walk(part: griffe.Object) -> Iterator[griffe.Object]:
    """The object and all that is defined in it."""
    yield part
    for member in part.members.values():
        if isinstance(member, griffe.Object):
            yield from walk(member)
