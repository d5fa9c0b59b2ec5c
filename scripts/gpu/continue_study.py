"""Gives the study's queue what time is left. It goes on from where it stopped, here or on another machine."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gpu_results import record, skip


STUDY = Path("configs/study/quick.yaml")
if find_spec("trl_entropy.study") is None or not STUDY.is_file():
    skip("this package has no study command")
out = Path(os.environ["GPU_CHECK_OUT"])
words = ["study", str(STUDY), "--output", str(out / "study"), "--results", str(out / "study-results")]
words += ["--dry_run"] if os.environ.get("GPU_CHECK_DRY") else ["--device", "cuda", "--jobs", "8"]
done = subprocess.run([sys.executable, "-c", "import sys; from trl_entropy.cli import main; sys.exit(main())", *words])
record("study", exit=done.returncode, command="trl-entropy " + " ".join(words))
sys.exit(done.returncode)
