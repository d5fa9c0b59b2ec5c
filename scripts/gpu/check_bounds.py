"""The kernels under compute-sanitizer, where it is installed; in a dry run the same tests without it."""

import os
import shutil
import subprocess
import sys

from gpu_results import record, skip


TESTS = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--noconftest",
         "tests/functional/test_on_gpu.py", "-k", "bounds"]  # fmt: skip
tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
if os.environ.get("GPU_CHECK_DRY"):
    watched = []
elif tool is None:
    skip("compute-sanitizer is not installed")
else:
    watched = [tool, "--tool", "memcheck", "--error-exitcode", "9"]
done = subprocess.run([*watched, sys.executable, *TESTS], capture_output=True, text=True)
print(done.stdout[-4000:], done.stderr[-4000:])
found = [line.strip("= ") for line in done.stdout.splitlines() if "ERROR SUMMARY" in line]
record("memcheck", exit=done.returncode, says="; ".join(found) or ("not run" if not watched else "nothing"))
sys.exit(done.returncode != 0)
