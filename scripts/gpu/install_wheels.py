"""Install the wheels that this machine lacks into the private folder. What it has, it keeps, whatever its version.

A wheel is taken when no distribution of its name is installed and its tags fit this Python. Only pip, and the
packaging that comes with transformers, are needed.
"""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from gpu_results import record, skip
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename


NEEDED = ("torch", "transformers", "trl", "datasets", "accelerate", "peft", "pandas", "pyarrow", "math-verify", "pytest")


def name_of(wheel: Path) -> str:
    return re.sub(r"[-_.]+", "-", wheel.name.split("-")[0]).lower()


def fits(wheel: Path) -> bool:
    return not parse_wheel_filename(wheel.name)[3].isdisjoint(sys_tags())


def installed() -> set[str]:
    return {re.sub(r"[-_.]+", "-", found.name).lower() for found in metadata.distributions() if found.name}


def main() -> None:
    folder, private = Path(os.environ["GPU_CHECK_WHEELS"]), os.environ["GPU_CHECK_PRIVATE"]
    have, wheels = installed(), sorted(folder.glob("*.whl"))
    # data without code, far larger than the rest, is read where it lies
    wanted = [wheel for wheel in wheels if name_of(wheel) not in have and not name_of(wheel).startswith("llm-")]
    missing = [wheel for wheel in wanted if fits(wheel)]
    if missing:
        base = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        subprocess.run([*base, "--no-cache-dir", "--target", private, *map(str, missing)], check=True)
        for wheel in missing:
            record(name_of(wheel), wheel=wheel.name, mb=round(wheel.stat().st_size / 1e6, 2))
    lacking = [name for name in NEEDED if name not in have | {name_of(wheel) for wheel in missing}]
    if lacking:
        record(", ".join(lacking), kind="failed", error=f"not installed, and no wheel in {folder}; run `make gpu-wheels`")
        sys.exit(1)
    if not missing:
        skip("every package is installed")


if __name__ == "__main__":
    main()
