"""Install the wheels that this machine lacks into the private folder. What it has, it keeps, whatever its version.

This package is imported from where it lies; the folder gets its name and version, which the state of a run holds.

A wheel is taken when no distribution of its name is installed and its tags fit this Python. Only pip, and the
packaging that comes with transformers, are needed.
"""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from gpu_results import record, skip
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename


PROJECT = Path(__file__).parents[2] / "pyproject.toml"
NEEDED = (
    "torch",
    "transformers",
    "trl",
    "datasets",
    "accelerate",
    "peft",
    "pandas",
    "pyarrow",
    "math-verify",
    "pytest",
)


def name_of(wheel: Path) -> str:
    return re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()


def fits(wheel: Path) -> bool:
    return not parse_wheel_filename(wheel.name)[3].isdisjoint(sys_tags())


def installed() -> set[str]:
    return {re.sub(r"[-_.]+", "-", found.name).lower() for found in metadata.distributions() if found.name}


def name_this_package(private: Path) -> None:
    project = tomllib.loads(PROJECT.read_text())["project"]
    folder = private / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(text)


def main() -> None:
    folder, private = Path(os.environ["GPU_CHECK_WHEELS"]), Path(os.environ["GPU_CHECK_PRIVATE"])
    have, wheels = installed(), sorted(folder.glob("*.whl"))
    # data without code, far larger than the rest, is read where it lies
    wanted = [wheel for wheel in wheels if name_of(wheel) not in have and not name_of(wheel).startswith("llm-")]
    missing = [wheel for wheel in wanted if fits(wheel)]
    if missing:
        base = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*base, "--no-cache-dir", "--target", str(private), *map(str, missing)], check=True)
        for wheel in missing:
            record(name_of(wheel), wheel=wheel.name, mb=round(wheel.stat().st_size / 1e6, 2))
    if "trl-entropy" not in have:
        name_this_package(private)
    needed = NEEDED if os.environ.get("GPU_CHECK_DRY") else ("triton", *NEEDED)
    lacking = [name for name in needed if name not in have | {name_of(wheel) for wheel in missing}]
    if lacking:
        record(", ".join(lacking), kind="failed", error=f"missing, and no wheel in {folder}: `make gpu-wheels`")
        sys.exit(1)
    if not missing:
        skip("every package is installed")


if __name__ == "__main__":
    main()
