"""Run a launcher from a test, and leave none of its processes behind: torchrun starts each in a session of its own."""

import contextlib
import os
import subprocess
from pathlib import Path

import psutil


MARK = "TRL_ENTROPY_TEST_COMMAND"


def run_to_its_end(command: list[str], log: Path, timeout: float, cwd: Path | None = None, **environment: str) -> None:
    """Run a command with its output in `log`; fail if it fails, takes longer, or leaves a process behind."""
    mark = str(log.absolute())
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **quiet, **environment, MARK: mark}
    with open(log, "w") as output:
        started = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, env=environment)
    code: int | str = "a timeout"
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = started.wait(timeout)
    finally:
        _, left = psutil.wait_procs(processes_of(mark), timeout=10 if code == 0 else 0)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        started.wait()
    assert code == 0, f"{' '.join(command)} ended with {code}:\n{log.read_text()[-6000:]}"
    assert not left, f"{' '.join(command)} left {len(left)} processes behind"


def processes_of(mark: str) -> list[psutil.Process]:
    """The processes that a command started, directly or not."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
