"""Runs the demo's training runs side by side, each in a process of one thread, and reports what they write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO


if TYPE_CHECKING:
    from .worker import RunSpec

OnEvent = Callable[["RunSpec", dict[str, Any]], None]
_POLL_SECONDS = 0.2
_LOG_TAIL = 30


class RunFailedError(RuntimeError):
    """A training run ended with an error; the message holds the end of its log."""


class _Run:
    """A run's process and how far its events have been read."""

    def __init__(self, spec: RunSpec) -> None:
        folder = Path(spec.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.spec = spec
        self.log = folder / "log.txt"
        self.read = 0
        spec.events.write_text("", encoding="utf-8")
        specification = folder / "run.json"
        specification.write_text(spec.to_json(), encoding="utf-8")
        # One thread each: as fast together as two threads for one run after the other, and the same figures for any
        # number of cores.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.stream: TextIO = self.log.open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trl_entropy.demo.worker", str(specification)],
            stdout=self.stream,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def poll(self, on_event: OnEvent) -> bool:
        """Report new events; whether the run is over. Raises `RunFailedError` if it failed."""
        code = self.process.poll()  # before reading, so that nothing written before the end is missed
        with self.spec.events.open(encoding="utf-8") as stream:
            stream.seek(self.read)
            while (line := stream.readline()).endswith("\n"):
                self.read = stream.tell()
                on_event(self.spec, json.loads(line))
        if code:
            tail = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
            raise RunFailedError(
                f"the run {self.spec.name} ended with exit status {code}; its log is {self.log}:\n" + "\n".join(tail)
            )
        return code is not None

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.stream.close()


def run_all(specs: Sequence[RunSpec], jobs: int, on_event: OnEvent) -> None:
    """Run every specification, at most `jobs` at a time, in the given order.

    Args:
        specs: The runs.
        jobs: Processes at a time, at least 1.
        on_event: Called with the run and each event that it wrote, from this thread.

    Raises:
        RunFailedError: As soon as one run fails. The others are stopped then, as they are on Ctrl-C.
    """
    waiting = list(specs)
    running: list[_Run] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                spec = waiting.pop(0)
                running.append(_Run(spec))
            for run in list(running):
                if run.poll(on_event):
                    running.remove(run)
                    run.stop()
            if running:
                time.sleep(_POLL_SECONDS)
    finally:
        for run in running:
            run.stop()
