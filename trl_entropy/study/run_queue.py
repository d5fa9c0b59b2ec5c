"""Runs a study's runs side by side, each in a process, and goes on where one fails."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..durable import write_whole
from .matrix import START, RunPlan, Study
from .outcome import SPEC


_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10


@contextmanager
def sole_owner(folder: Path, wait: bool) -> Iterator[None]:
    """Hold `folder` for this process; the system lets go of it when the process dies.

    Raises:
        BlockingIOError: where another process holds it and `wait` is off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@dataclass
class Job:
    """A run in the queue: `waiting`, `running`, `done` or `failed`."""

    plan: RunPlan
    folder: Path
    result: Path
    state: str = "waiting"
    error: str = ""
    began: float = 0.0
    first: float | None = None  # batches that lay behind it when this session met it
    progress: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    log: TextIO | None = None

    def start(self, cache_dir: Path | None, device: str) -> None:
        """Begin or resume the run in a process of one thread, its output in `log.txt`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "progress.json").unlink(missing_ok=True)
        spec = {"folder": str(self.folder), "result": str(self.result), "cache_dir": cache_dir and str(cache_dir)}
        write_whole(self.folder / SPEC, json.dumps({"plan": self.plan.as_dict(), "device": device, **spec}))
        # One thread each: as fast together as two threads for one run after the other, and the same figures for any
        # number of cores.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.log = (self.folder / "log.txt").open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trl_entropy.study.worker", str(self.folder / SPEC)],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        self.state, self.began = "running", time.monotonic()

    def poll(self) -> None:
        """Read how far it is and whether it is over."""
        assert self.process is not None
        code = self.process.poll()
        try:
            self.progress = json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))
            self.first = self.progress["done"] if self.first is None else self.first
        except FileNotFoundError:
            pass
        if code is not None:
            self.stop()
            self.state = "done" if self.result.exists() else "failed"
            if self.state == "failed":
                lines = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
                self.error = (
                    f"exit status {code}: {lines[-1] if lines else 'no output'} (see {self.folder / 'log.txt'})"
                )

    def stop(self) -> None:
        """End the process, where it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.log is not None:
            self.log.close()


def jobs_of(study: Study) -> list[Job]:
    """Every run of a study, the start policies first; what has a result is done.

    Raises:
        ValueError: where a result, or an unfinished run's folder, is of a run with other settings under that name.
    """
    jobs = []
    for plan in (*study.starts(), *study.runs()):
        job = Job(plan, study.folder(plan), study.result(plan))
        for path, key in ((job.result, "plan"), (job.folder / SPEC, "plan")):
            if path.exists():
                other = json.loads(path.read_text(encoding="utf-8"))[key]
                differing = [name for name, value in plan.as_dict().items() if other.get(name) != value]
                if differing:
                    raise ValueError(
                        f"{path} is of a run with another {', '.join(differing)}. Give the method or the study "
                        "another name, or delete that file and the run's folder"
                    )
        if job.result.exists():
            job.state = "done"
        jobs.append(job)
    return jobs


def work_through(
    jobs: Sequence[Job], cache_dir: Path | None, at_once: int, device: str, show: Callable[[], None]
) -> None:
    """Carry out every waiting job, at most `at_once` at a time; one that fails leaves the others alone.

    Args:
        jobs: From `jobs_of`. Runs of a task wait for its start policy.
        cache_dir: Where start policies are kept.
        at_once: Processes at a time, at least 1.
        device: `cpu` or `cuda`.
        show: Called whenever something may have changed. All processes end on Ctrl-C.
    """
    starts = {job.plan.task: job for job in jobs if job.plan.method == START}
    try:
        while any(job.state in ("waiting", "running") for job in jobs):
            for job in jobs:
                if job.state == "running":
                    job.poll()
                start = starts[job.plan.task]
                if job.state == "waiting" and job is not start and start.state == "failed":
                    job.state, job.error = "failed", "its start policy failed"
                ready = job is start or start.state == "done"
                if job.state == "waiting" and ready and sum(other.state == "running" for other in jobs) < at_once:
                    job.start(cache_dir, device)
            show()
            time.sleep(_POLL_SECONDS)
    finally:
        for job in jobs:
            if job.state == "running":
                job.stop()
