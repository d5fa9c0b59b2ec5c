"""Collect the wheels of `wheels.txt` for a Linux machine with another Python, and see that they can be carried.

    make gpu-wheels                    # for Python 3.12
    make gpu-wheels GPU_PYTHON=3.11

The wheels and the repository's own files together must stay below 64 MiB.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
LIST, LIMIT = Path(__file__).with_name("wheels.txt"), 64 * 2**20
PLATFORMS = ("2_28", "2_27", "2_24", "2_17", "2_12", "2_5")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="version of the other machine's Python (default: 3.12)")
    parser.add_argument("--to", type=Path, default=ROOT / "gpu-wheels", help="default: gpu-wheels")
    args = parser.parse_args()
    shutil.rmtree(args.to, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", args.python, "--implementation", "cp", "--dest", str(args.to), "-r", str(LIST)]
    for platform in PLATFORMS:
        command += ["--platform", f"manylinux_{platform}_x86_64"]
    for old in ("manylinux2014", "manylinux2010", "manylinux1"):
        command += ["--platform", f"{old}_x86_64"]
    subprocess.run(command, check=True)
    wheels = sorted(args.to.glob("*.whl"), key=lambda path: -path.stat().st_size)
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:8.2f} MB  {wheel.name}")
    carried = sum(wheel.stat().st_size for wheel in wheels)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    own = sum((ROOT / name).stat().st_size for name in listed.split("\0") if name and (ROOT / name).is_file())
    print(f"{carried / 2**20:.1f} MiB of wheels, {own / 2**20:.1f} MiB of repository, at most {LIMIT / 2**20:.0f}")
    if carried + own >= LIMIT:
        print("That is too much to be carried: take a smaller version of the largest wheel in scripts/gpu/wheels.txt.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
