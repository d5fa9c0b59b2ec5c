"""A clean process that forks the grading workers, watches their clocks and replaces the ones it has to kill.

It is started by `exec`, never by forking the trainer: nothing of torch, CUDA, NCCL, threads or locks reaches it, and
the user's training script is not imported again as `multiprocessing`'s spawn would. It imports math-verify once; its
workers are forks of a single-threaded process, ready in milliseconds.

Protocol, one JSON object a line. To the nursery: `{"timeout": s, "items": [[gold, answer], ...]}`. From it: `{"ready":
true}` once, then for each item, in the order they finish, `{"i": index, "status": text, "seconds": s}`.
"""

import contextlib
import gc
import json
import os
import resource
import selectors
import signal
import sys
import time
from dataclasses import dataclass


ITEMS_PER_WORKER = 5_000  # then it is replaced: sympy's caches only grow


@dataclass
class Worker:
    """One forked grader: its process id, the two ends of its pipes, and what it is doing."""

    pid: int
    to_worker: int
    from_worker: int
    served: int = 0
    item: int | None = None
    started: float = 0.0
    buffer: bytes = b""


def main(workers: int, memory_mb: int) -> None:
    """Serve batches from stdin until it closes or the parent is gone."""
    from .equality import warm_up

    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # a stray print must not corrupt the protocol
    warm_up()
    gc.collect()
    gc.freeze()
    _send(replies, {"ready": True})
    Nursery(workers, memory_mb, requests, replies).serve()


class Nursery:
    """The loop: hand out items, collect verdicts, kill what exceeds its time, fork a replacement."""

    def __init__(self, workers: int, memory_mb: int, requests: int, replies: int):
        self.size, self.memory_mb, self.requests, self.replies = workers, memory_mb, requests, replies
        self.parent = os.getppid()
        self.selector = selectors.DefaultSelector()
        self.selector.register(requests, selectors.EVENT_READ)
        self.workers: list[Worker] = []
        self.retried: set[int] = set()

    def serve(self) -> None:
        pending = b""
        while True:
            ready = [key for key, _ in self.selector.select(timeout=5.0)]
            for key in ready:
                if key.fd != self.requests:  # an idle worker was killed from outside
                    self._collect(key.data, [])
            self._leave_if_orphaned()
            if not any(key.fd == self.requests for key in ready):
                continue
            data = os.read(self.requests, 1 << 20)
            if not data:
                self._leave()
            pending += data
            if pending.endswith(b"\n"):
                batch, pending = json.loads(pending), b""
                self._batch(batch["items"], batch["timeout"])

    def _batch(self, items: list[list[str]], timeout: float) -> None:
        waiting, open_items = list(range(len(items)))[::-1], len(items)
        self.retried = set()
        while open_items:
            while len(self.workers) < min(self.size, open_items):
                self._fork()
            for worker in self.workers:
                if worker.item is None and waiting:
                    self._hand_out(worker, waiting.pop(), items)
            busy = [worker for worker in self.workers if worker.item is not None]
            now = time.monotonic()
            nearest = min((worker.started + timeout - now for worker in busy), default=0.0)
            for key, _ in self.selector.select(timeout=min(max(nearest, 0.0), 1.0)):
                if key.fd == self.requests:
                    self._leave()  # nothing is sent during a batch: the other end has closed
                open_items -= self._collect(key.data, waiting)
            self._leave_if_orphaned()
            now = time.monotonic()
            for worker in [w for w in self.workers if w.item is not None and now - w.started >= timeout]:
                self._finish(worker, "timeout")
                self._kill(worker)
                open_items -= 1

    def _fork(self) -> None:
        child_reads, to_worker = os.pipe()
        from_worker, child_writes = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                for descriptor in (self.requests, self.replies, to_worker, from_worker):
                    os.close(descriptor)
                for other in self.workers:
                    os.close(other.to_worker)
                    os.close(other.from_worker)
                _work(child_reads, child_writes, self.memory_mb)
            finally:
                os._exit(0)
        os.close(child_reads)
        os.close(child_writes)
        worker = Worker(pid, to_worker, from_worker)
        self.selector.register(from_worker, selectors.EVENT_READ, worker)
        self.workers.append(worker)

    def _hand_out(self, worker: Worker, item: int, items: list[list[str]]) -> None:
        worker.item, worker.started, worker.buffer = item, time.monotonic(), b""
        with contextlib.suppress(BrokenPipeError):  # a dead worker shows as end of file, counted as a crash
            _send(worker.to_worker, items[item])

    def _collect(self, worker: Worker, waiting: list[int]) -> int:
        """Read a worker's reply; the number of items it closes."""
        data = os.read(worker.from_worker, 1 << 16)
        if not data:
            item = worker.item
            closed = item is not None and item in self.retried
            if closed:
                self._finish(worker, "crash")
            elif item is not None:  # once more, in a fresh worker: something outside may have killed this one
                self.retried.add(item)
                waiting.append(item)
            self._kill(worker)
            return int(closed)
        worker.buffer += data
        if not worker.buffer.endswith(b"\n"):
            return 0
        status = json.loads(worker.buffer)
        self._finish(worker, status)
        if status == "memory" or worker.served >= ITEMS_PER_WORKER:
            self._kill(worker)
        return 1

    def _finish(self, worker: Worker, status: str) -> None:
        seconds = time.monotonic() - worker.started
        _send(self.replies, {"i": worker.item, "status": status, "seconds": seconds})
        worker.item, worker.served = None, worker.served + 1

    def _kill(self, worker: Worker) -> None:
        self.selector.unregister(worker.from_worker)
        self.workers.remove(worker)
        os.close(worker.to_worker)
        os.close(worker.from_worker)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        os.waitpid(worker.pid, 0)

    def _leave_if_orphaned(self) -> None:
        # A sibling forked from the trainer may hold our pipe open after the trainer died; the parent id tells.
        if os.getppid() != self.parent:
            self._leave()

    def _leave(self) -> None:
        for worker in list(self.workers):
            self._kill(worker)
        os._exit(0)


def _work(requests: int, replies: int, memory_mb: int) -> None:
    from .equality import compare

    limit_process(memory_mb)
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            try:
                status = compare(*json.loads(line))
            except MemoryError:
                status = "memory"
            except Exception:  # whatever a hostile text makes sympy raise is the verdict "unparsed", and is counted
                status = "unparsed"
            _send(replies, status)


def limit_process(memory_mb: int) -> None:
    """Bind this process for good: `memory_mb` MiB of address space, no file written, no core dump, no orphan."""
    if sys.platform == "linux":  # macOS has neither call in a working form
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _send(descriptor: int, message: object) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[os.write(descriptor, data) :]
