"""Wheel and sdist are whole: built, installed in an environment of their own, and used from an empty folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it, as an installer would."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"sdist": next(folder.glob("*.tar.gz")), "wheel": next(folder.glob("*.whl"))}


def test_the_wheel_holds_the_package_and_nothing_else(built: dict[str, Path]):
    names = zipfile.ZipFile(built["wheel"]).namelist()
    roots = {name.split("/")[0] for name in names}
    assert len(roots) == 2
    assert "trl_entropy" in roots
    assert any(root.endswith(".dist-info") for root in roots)
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "trl_entropy").rglob("*.py")}
    assert modules <= set(names)
    assert "trl_entropy/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_holds_what_is_needed_to_work_on_it(built: dict[str, Path]):
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "constraints.txt",
        "configs/siren.yaml",
        "tests/conftest.py",
    ):
        assert name in names, name
    assert not [name for name in names if name.startswith((".venv", "runs/", "outputs/"))]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_and_works_in_a_clean_environment(built: dict[str, Path], kind: str, tmp_path: Path):
    """Its dependencies are those of this environment, seen through a path file; the package itself is not."""
    environment, work = tmp_path / "venv", tmp_path / "empty"
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    here = next(path for path in sys.path if path.endswith("site-packages"))
    there = next((environment / "lib").glob("python*/site-packages"))
    # A plain path line: the .pth files of this environment, and so its editable install, are not read
    (there / "dependencies.pth").write_text(here + "\n")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([*install, "--ignore-installed", str(built[kind])], check=True, timeout=300, env=clean)

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=work, env=clean, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(there) in run(str(python), "-c", "import trl_entropy; print(trl_entropy.__file__)")
    command = str(environment / "bin" / "trl-entropy")
    assert run(command, "--version").startswith("trl_entropy ")
    (work / "siren.yaml").write_text(run(command, "init", "siren", "--size", "0.5b"))
    assert "every setting is that of its 7B model" in run(command, "doctor", "siren.yaml", "--use_vllm", "false")
    assert "--siren_coef" in run(command, "grpo", "--help")
