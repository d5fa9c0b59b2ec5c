"""The trainer's side of the grading workers: batches in, verdicts out, in order, from any thread, on any rank."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from .extract import MAX_ANSWER_CHARS


_START_SECONDS = 120.0
_GRACE_SECONDS = 30.0
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from trl_entropy.rewards.nursery import main; main({}, {})"
)


# A fork copies a lock that another thread holds, which nobody in the child would ever release.
_POOLS: "weakref.WeakSet[GradingPool]" = weakref.WeakSet()


def _renew_locks() -> None:
    for pool in list(_POOLS):
        pool._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


@dataclass(frozen=True)
class Verdict:
    """`status`: equal, different, unparsed, unparsed_gold, timeout, memory or crash. `seconds`: wall clock."""

    status: str
    seconds: float = 0.0


class GradingPool:
    """Compares pairs of answers in worker processes that can be killed.

    Each pair has `timeout` seconds of wall clock and each worker `memory_mb` MiB of address space; a worker that
    exceeds its time is killed (SIGKILL: no code inside can refuse) and replaced. The workers never import torch and
    are not forked from this process, so the pool is safe beside CUDA, NCCL and threads. POSIX only.

    Args:
        timeout: seconds of wall clock a pair may take, > 0.
        memory_mb: address space of a worker in MiB, >= 256 (the parser alone takes about 150).
        workers: number of worker processes; by default this process's share of the cores, at most 8.

    Raises:
        ValueError: for a setting out of range.
        RuntimeError: from `compare`, if the workers cannot be started at all.

    Example:
        >>> with GradingPool(timeout=0.5) as pool:
        ...     [verdict.status for verdict in pool.compare([("1/2", "0.5"), ("3", "9^{9^{9^{9}}}")])]
        ['equal', 'timeout']
    """

    def __init__(self, timeout: float = 3.0, memory_mb: int = 1024, workers: int | None = None):
        if not timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds, got {timeout}.")
        if memory_mb < 256:
            raise ValueError(f"memory_mb must be at least 256 (the parser itself takes about 150), got {memory_mb}.")
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}.")
        self.timeout, self.memory_mb = float(timeout), int(memory_mb)
        self.workers = workers or share_of_cores()
        self._lock = threading.Lock()
        _POOLS.add(self)
        self._nursery: subprocess.Popen | None = None
        self._stderr: IO[bytes] | None = None
        self._owner = 0
        self._finalizer = None

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of `(gold, answer)` pairs, in their order. Equal pairs are compared once."""
        unique = list(dict.fromkeys(pairs))
        verdicts = dict(zip(unique, self._compare_unique(unique), strict=True))
        return [verdicts[pair] for pair in pairs]

    def close(self) -> None:
        """Stop the worker processes. The next `compare` starts them again."""
        with self._lock:
            self._stop()

    def __enter__(self) -> "GradingPool":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __reduce__(self):
        return GradingPool, (self.timeout, self.memory_mb, self.workers)

    def _compare_unique(self, pairs: list[tuple[str, str]]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(pairs)
        for index, (gold, answer) in enumerate(pairs):
            if len(gold) > MAX_ANSWER_CHARS:
                verdicts[index] = Verdict("unparsed_gold")
            elif len(answer) > MAX_ANSWER_CHARS:
                verdicts[index] = Verdict("unparsed")
        with self._lock:
            # The second and third attempts are for a nursery that something outside killed (the kernel's OOM killer).
            for _ in range(3):
                missing = [i for i, verdict in enumerate(verdicts) if verdict is None]
                if not missing:
                    break
                self._start()
                try:
                    clean = self._exchange(pairs, missing, verdicts)
                except BaseException:
                    self._stop()  # an interrupted exchange leaves replies in the pipe: start afresh
                    raise
                if not clean:
                    self._stop()
        return [verdict or Verdict("crash") for verdict in verdicts]

    def _exchange(self, pairs: list[tuple[str, str]], missing: list[int], verdicts: list[Verdict | None]) -> bool:
        """Send the missing pairs and fill in their verdicts. False if the nursery died or fell silent."""
        assert self._nursery is not None
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        request = {"timeout": self.timeout, "items": [pairs[i] for i in missing]}
        outgoing = memoryview(json.dumps(request).encode() + b"\n")
        sink, source = self._nursery.stdin.fileno(), self._nursery.stdout.fileno()
        os.set_blocking(sink, False)
        left, buffer = len(missing), b""
        with selectors.DefaultSelector() as selector:
            selector.register(sink, selectors.EVENT_WRITE)
            selector.register(source, selectors.EVENT_READ)
            while left:
                events = selector.select(self.timeout + _GRACE_SECONDS)
                if not events:
                    return False
                for key, _ in events:
                    if key.fd == sink:
                        try:
                            outgoing = outgoing[os.write(sink, outgoing) :]
                        except BrokenPipeError:
                            return False
                        if not outgoing:
                            selector.unregister(sink)
                        continue
                    data = os.read(source, 1 << 16)
                    if not data:
                        return False
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        reply = json.loads(line)
                        verdicts[missing[reply["i"]]] = Verdict(reply["status"], reply["seconds"])
                        left -= 1
        return True

    def _start(self) -> None:
        if self._owner != os.getpid():
            self._nursery = None  # we are a fork of the pool's owner: its nursery is not ours to use or to stop
        if self._nursery is not None and self._nursery.poll() is None:
            return
        if os.name != "posix":
            raise RuntimeError("GradingPool needs a POSIX system (fork and resource limits); use WSL on Windows.")
        self._stop()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as the nursery
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self._nursery = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _PROGRAM.format(self.workers, self.memory_mb),
                json.dumps([str(entry) for entry in sys.path]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the trainer; the nursery leaves when its pipe closes
        )
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, _kill, self._nursery, os.getpid())
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._nursery is not None
        assert self._nursery.stdout is not None
        assert self._stderr is not None
        source, data, deadline = self._nursery.stdout.fileno(), b"", time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(source, selectors.EVENT_READ)
            while not data.endswith(b"\n"):
                chunk = os.read(source, 4096) if selector.select(max(0.0, deadline - time.monotonic())) else b""
                if not chunk:
                    self._stderr.seek(0)
                    report = self._stderr.read().decode(errors="replace").strip() or "no message"
                    self._stop()
                    raise RuntimeError(
                        f"The grading workers did not start within {_START_SECONDS:.0f} s. "
                        f"Their last words: {report}. They need math-verify (`pip install math-verify`)."
                    )
                data += chunk

    def _stop(self) -> None:
        if self._finalizer is not None and self._owner == os.getpid():
            self._finalizer()
        self._nursery, self._finalizer = None, None
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None


def _kill(nursery: subprocess.Popen, owner: int) -> None:
    if owner != os.getpid():
        return
    if nursery.stdin is not None:
        nursery.stdin.close()  # it kills its workers and leaves
    try:
        nursery.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        nursery.kill()  # on Linux its workers die with it
        nursery.wait()
    if nursery.stdout is not None:
        nursery.stdout.close()


def share_of_cores(most: int = 8) -> int:
    """The cores of this process's share, where several train on one machine; at least 1, at most `most`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, min(most, cores // max(1, int(ranks) if ranks.isdecimal() else 1)))
