"""Grading in processes that can be killed: pairs in, verdicts out, in order, from any thread, on any rank."""

import contextlib
import json
import os
import signal
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait

from .extract import MAX_ANSWER_CHARS
from .nursery import Nursery, NurseryError, Worker


_ATTEMPTS = 3  # at a pair, and at starting: something outside (the kernel, short of memory) may kill any process
_PAIRS_PER_WORKER = 5_000  # then it is replaced: sympy's caches only grow
_POOLS: "weakref.WeakSet[GradingPool]" = weakref.WeakSet()


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
        self._nursery: Nursery | None = None
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        _POOLS.add(self)

    def compare(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of `(gold, answer)` pairs, in their order. Equal pairs are compared once."""
        verdicts: dict[tuple[str, str], Verdict] = {}
        for gold, answer in pairs:
            if len(gold) > MAX_ANSWER_CHARS:
                verdicts[gold, answer] = Verdict("unparsed_gold")
            elif len(answer) > MAX_ANSWER_CHARS:
                verdicts[gold, answer] = Verdict("unparsed")
        waiting = [pair for pair in dict.fromkeys(pairs) if pair not in verdicts][::-1]
        number, lost = len(waiting) + len(verdicts), Counter()
        with self._lock:
            try:
                while len(verdicts) < number:
                    self._hand_out(waiting, number - len(verdicts))
                    for pair, verdict in self._collect():
                        lost[pair] += verdict.status == "crash"
                        if verdict.status != "crash" or lost[pair] == _ATTEMPTS:
                            verdicts[pair] = verdict
                        else:
                            waiting.append(pair)
            except BaseException:
                self._stop()  # an interrupted batch leaves verdicts in the sockets: start afresh
                raise
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

    def _hand_out(self, waiting: list[tuple[str, str]], open_pairs: int) -> None:
        while len(self._workers) < min(self.workers, open_pairs):
            self._workers.append(self._fork())  # the list stays, whatever becomes of the nursery
        for worker in self._workers:
            if worker.pair is None and waiting:
                worker.pair, worker.started = waiting.pop(), time.monotonic()
                with contextlib.suppress(OSError):  # a dead worker shows as end of file
                    worker.line.send_bytes(json.dumps(worker.pair).encode())

    def _collect(self) -> Iterator[tuple[tuple[str, str], Verdict]]:
        """Wait for the next verdict or the next worker out of time; the pairs that this closes."""
        starts = [worker.started for worker in self._workers if worker.pair is not None]
        left = min(starts, default=0.0) + self.timeout - time.monotonic()
        ready = wait([worker.line for worker in self._workers], max(0.0, left))
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.line in ready:
                try:
                    status = worker.line.recv_bytes(64).decode()
                except (EOFError, OSError):
                    status = "crash"
            elif worker.pair is not None and now - worker.started >= self.timeout:
                status = "timeout"
            else:
                continue
            worker.served += 1
            if worker.pair is not None:
                yield worker.pair, Verdict(status, now - worker.started)
            worker.pair = None
            if status in ("crash", "timeout", "memory") or worker.served >= _PAIRS_PER_WORKER:
                self._workers.remove(worker)
                worker.line.close()  # at which it leaves, unless it is busy
                if status == "timeout":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker.pid, signal.SIGKILL)

    def _fork(self) -> Worker:
        if os.name != "posix":
            raise RuntimeError("GradingPool needs a POSIX system (fork and resource limits); use WSL on Windows.")
        for left in reversed(range(_ATTEMPTS)):
            self._nursery = self._nursery or Nursery(self.memory_mb)
            try:
                return self._nursery.fork()
            except NurseryError as error:
                self._nursery = None  # its workers have ended with it, which their lines tell
                if error.silent or not left:
                    advice = "They need math-verify (`pip install math-verify`)."
                    raise RuntimeError(f"The grading workers did not start: {error}. {advice}") from None
        raise AssertionError

    def _stop(self) -> None:
        if self._nursery is not None:
            self._nursery.end()
        self._nursery = None
        self._workers.clear()

    def _forget(self) -> None:
        """A fork of this process has neither its workers nor the thread that may hold its lock."""
        if self._nursery is not None:
            self._nursery.forget()
        self._nursery, self._workers, self._lock = None, [], threading.Lock()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def share_of_cores(most: int = 8) -> int:
    """The cores of this process's share, where several train on one machine; at least 1, at most `most`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, min(most, cores // max(1, int(ranks) if ranks.isdecimal() else 1)))
