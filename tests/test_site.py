"""The documentation site builds without a warning, and each of its promises that is broken is one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
SOURCES = ("docs", "scripts", "trl_entropy", "mkdocs.yml", "CONTRIBUTING.md", "CHANGELOG.md", "README.md", "configs")


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(root / "mkdocs.yml")]
    return subprocess.run([*command, "--site-dir", str(site)], capture_output=True, text=True, timeout=300, cwd=root)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import site_hook

    return site_hook


@pytest.mark.parametrize(
    ("source", "page", "target", "leads_to"),
    [
        ("docs/methods.md", "methods.md", "../configs/siren.yaml", "https://r/blob/main/configs/siren.yaml"),
        ("docs/methods.md", "methods.md", "../configs/methods", "https://r/tree/main/configs/methods"),
        ("docs/methods.md", "methods.md", "law.md", "law.md"),
        ("docs/methods.md", "methods.md", "../CONTRIBUTING.md", "contributing.md"),
        ("docs/api/trainer.md", "api/trainer.md", "../methods.md", "../methods.md"),
        ("docs/api/trainer.md", "api/trainer.md", "../../README.md", "https://r/blob/main/README.md"),
        ("CONTRIBUTING.md", "contributing.md", "docs/add_a_method.md", "add_a_method.md"),
        ("CONTRIBUTING.md", "contributing.md", "Makefile", "https://r/blob/main/Makefile"),
        ("docs/methods.md", "methods.md", "../configs/none.yaml", "../configs/none.yaml"),  # mkdocs warns of these
        ("docs/methods.md", "methods.md", "../../elsewhere.md", "../../elsewhere.md"),
    ],
)
def test_links_read_on_the_site_as_on_github(hook, source: str, page: str, target: str, leads_to: str):
    assert hook.address(ROOT / source, page, target, "https://r") == leads_to


@pytest.mark.parametrize(
    ("html", "loads"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "https://cdn.example/x.js"),
        ("<img alt=x src=//cdn.example/x.png>", "//cdn.example/x.png"),
        ('<link href="https://fonts.example" rel="preconnect">', "https://fonts.example"),
        ('<link rel="canonical" href="https://site.example/">', None),
        ('<a href="https://elsewhere.example/">there</a>', None),
        ('<script src="assets/x.js"></script>', None),
    ],
)
def test_what_a_page_loads_by_itself(hook, html: str, loads: str | None):
    assert [match[1] or match[2] for match in hook.LOADED.finditer(html)] == ([loads] if loads else [])


def test_the_exports_are_those_of_the_packages(hook):
    from trl_entropy import functional, methods, rewards

    names = hook.exported()
    for package in (functional, methods, methods.control, rewards):
        room = ".".join(package.__name__.split(".")[:2])
        assert {f"{room}.{name}" for name in package.__all__} <= names


@pytest.mark.slow
def test_it_builds_strictly(tmp_path: Path):
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "index.html").read_text()
    assert 'data-md-component="source"' not in home  # would ask GitHub for the number of stars
    functional = (tmp_path / "api" / "functional" / "index.html").read_text()
    assert 'id="trl_entropy.functional.select_clip_cov"' in functional
    assert "&gt;&gt;&gt; " not in re.sub(r"(?s)<pre>.*?</pre>", "", functional)  # examples are code


@pytest.mark.slow
def test_each_broken_promise_is_a_warning(tmp_path: Path):
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    page = tmp_path / "docs" / "start.md"
    planted = (
        "[a](gone.md) [b](law.md#gone) [c](../configs/gone.yaml)\n\n<img src='https://elsewhere.example/x.png'>\n"
    )
    page.write_text(f"{page.read_text()}\n{planted}")
    (tmp_path / "docs" / "orphan.md").write_text("# In no navigation\n")
    functional = tmp_path / "trl_entropy" / "functional" / "__init__.py"
    functional.write_text(functional.read_text() + "\n\ndef bare():\n    return 1\n")
    functional.write_text(functional.read_text().replace("__all__ = [", '__all__ = [\n    "bare",', 1))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    for told in ("gone.md", "#gone", "configs/gone.yaml", "elsewhere.example", "trl_entropy.functional.bare"):
        assert len([line for line in warnings if told in line]) == 1, (told, warnings)
    assert "orphan.md" in done.stderr
