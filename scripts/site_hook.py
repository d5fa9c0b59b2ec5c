"""mkdocs calls these while it builds the site (`make docs`): links into the repository, and what the site promises.

A page reads the same on GitHub and on the site: a link to a file of the repository outside of docs/ becomes that
file's address there, and CONTRIBUTING.md is a page of the site from where it lies. A promise that is broken is a
warning, which the strict build does not forgive. Every name that a package exports, which is what its `__init__.py`
lists in `__all__`, must stand on an API page with a docstring. No page may load anything from another server.
"""

import ast
import logging
import os
import re
from pathlib import Path
from typing import Any


ROOT = Path(__file__).parents[1]
PAGES_OF_THE_ROOT = {"CONTRIBUTING.md": "contributing.md"}
LOG = logging.getLogger("mkdocs.hooks.site")  # strict builds count the warnings of mkdocs.*
# A fence, which is left alone, or a link's end
LINK = re.compile(r"(?ms)^ *```.*?^ *```|\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
# What a browser fetches by itself
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc=["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect|dns-prefetch|manifest)\b)"""
    r"""[^>]*?\bhref=["']?((?:https?:)?//[^"'\s>]+)"""
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie in the repository's root."""
    from mkdocs.structure.files import File

    for source, page in PAGES_OF_THE_ROOT.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page with its relative links to files outside of docs/ as addresses."""
    source = Path(page.file.abs_src_path)

    def replaced(match: re.Match) -> str:
        if match[1] is None:  # a fence
            return match[0]
        return f"]({address(source, page.file.src_uri, match[1], config['repo_url'])}{match[2] or ''})"

    return LINK.sub(replaced, markdown)


def address(source: Path, page: str, target: str, repository: str) -> str:
    """Where a link of a file leads on the site: a page, or the repository. A dead one is left for mkdocs to find."""
    there = (source.parent / target).resolve()
    if not there.is_relative_to(ROOT):
        return target
    path = there.relative_to(ROOT).as_posix()
    if path.startswith("docs/") or path in PAGES_OF_THE_ROOT:
        inside = PAGES_OF_THE_ROOT.get(path, path.removeprefix("docs/"))
        return Path(os.path.relpath(inside, Path(page).parent)).as_posix()
    if not there.exists():
        return target
    return f"{repository}/{'tree' if there.is_dir() else 'blob'}/main/{path}"


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The page without the theme's look-up of stars at GitHub, after a check that it loads nothing from elsewhere."""
    for match in LOADED.finditer(output):
        LOG.warning(f"{page.file.src_uri} loads {match[1] or match[2]} from another server")
    return output.replace('data-md-component="source"', "")


def on_post_build(config: Any) -> None:
    """Warn of every exported name that no page of the API documents."""
    documented = config["plugins"]["mkdocstrings"].handlers.inventory
    for name in sorted(exported() - set(documented)):
        LOG.warning(f"{name} is exported, and no page of docs/api/ shows it with a docstring")


def exported() -> set[str]:
    """What the package offers: the names in `__all__` of every `__init__.py`, in the room that they belong to."""
    names = set()
    for path in (ROOT / "trl_entropy").rglob("__init__.py"):
        room = ".".join(path.parent.relative_to(ROOT).parts[:2])  # which shows what the packages inside of it export
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names |= {f"{room}.{name}" for name in ast.literal_eval(node.value)}
    return names
