"""A clean process that forks the grading workers.

It is started by `exec`, never by forking the trainer: nothing of torch, CUDA, NCCL, threads or locks reaches it, and
the user's training script is not imported again as `multiprocessing`'s spawn would. It imports math-verify once; its
workers are forks of a single-threaded process, ready in milliseconds. For each socket that it is sent it forks a
worker, which reads pairs there and writes verdicts, and it answers with the worker's process id.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass
from multiprocessing.connection import Connection

from .. import TrlEntropyError


_START_SECONDS = 120.0
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from trl_entropy.rewards.nursery import main; main({})"
)


class NurseryError(TrlEntropyError, RuntimeError):
    """The nursery ended, or is `silent`."""

    def __init__(self, message: str, silent: bool):
        super().__init__(message)
        self.silent = silent


@dataclass
class Worker:
    """A forked grader, the trainer's end of its line, and what it is doing since when."""

    pid: int
    line: Connection
    served: int = 0
    pair: tuple[str, str] | None = None
    started: float = 0.0


class Nursery:
    """The trainer's end. `end()` kills the nursery and its workers, which are in its process group."""

    def __init__(self, memory_mb: int):
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- it lives as long as the nursery
        self._control, theirs = socket.socketpair()
        self._control.settimeout(_START_SECONDS)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(memory_mb), json.dumps([str(path) for path in sys.path])],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the trainer
            )
        self.end = weakref.finalize(self, _end, self.process)

    def forget(self) -> None:
        """In a fork of the trainer, which neither may end the nursery nor keep it alive."""
        self.end.detach()
        self._control.close()

    def fork(self) -> Worker:
        """A new worker.

        Raises:
            NurseryError: the nursery ended or fell silent, with its last words; it is ended then.
        """
        mine, theirs = socket.socketpair()
        silent, process_id = False, b""
        with theirs, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            try:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
                process_id = self._control.recv(4)
            except TimeoutError:
                silent = True
        if process_id:
            return Worker(int.from_bytes(process_id, "little"), Connection(mine.detach()))
        mine.close()
        self.end()
        self._stderr.seek(0)
        words = self._stderr.read().decode(errors="replace").strip() or "none"
        how = f"nothing for {_START_SECONDS:g} s" if silent else f"exit status {self.process.returncode}"
        raise NurseryError(f"{how}; last words: {words}", silent)


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(memory_mb: int) -> None:
    """Fork workers as standard input, a socket, asks, until its other end closes, which a trainer's death does."""
    from .equality import warm_up

    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    warm_up()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the workers
    while True:
        asked, descriptors, *_ = socket.recv_fds(control, 1, 1)
        if not asked:
            break
        worker = os.fork()
        if worker == 0:
            control.close()
            _work(Connection(descriptors[0]), memory_mb)
        os.close(descriptors[0])
        control.sendall(worker.to_bytes(4, "little"))
    os.killpg(0, signal.SIGKILL)  # the workers, and this process, which leads their group


def _work(line: Connection, memory_mb: int) -> None:
    from .equality import compare

    try:
        limit_process(memory_mb)
        while True:
            try:
                status = compare(*json.loads(line.recv_bytes()))
            except EOFError:
                break
            except MemoryError:
                status = "memory"
            except Exception:  # whatever a hostile text makes sympy raise is the verdict "unparsed", and is counted
                status = "unparsed"
            line.send_bytes(status.encode())
    finally:
        os._exit(0)


def limit_process(memory_mb: int) -> None:
    """Bind this process for good: `memory_mb` MiB of address space, no file written, no core dump, no orphan."""
    import resource  # not on Windows, where the package can be imported

    if sys.platform == "linux":  # macOS has neither call in a working form
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
