"""Run a function on several processes, from a test: `processes.run(target, world_size)` returns a result a rank.

Importing torch and TRL takes longer than a tiny training run, so one helper process imports them once and forks every
rank of every job. A fork dies with its parent (`PR_SET_PDEATHSIG`), a job that outlasts its time is killed whole, and
a finished rank leaves through `os._exit`, because gloo's destructor sometimes hangs.
"""

import ctypes
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .commands import run_to_its_end


_PR_SET_PDEATHSIG = 1


@dataclass
class Rank:
    """How one rank of a job ended: its exit code (negative: the signal), its result and what it printed."""

    code: int
    result: Any
    output: str


class Processes:
    """The helper process. `run` may be called any number of times; `close` ends it."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._jobs = 0
        self._helper = subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.jobs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )

    def start(self, target: str, world_size: int = 1, timeout: float = 120, **payload) -> list[Rank]:
        """Run `target(payload)`, a function named as `module:function`, on `world_size` ranks, and wait for all."""
        self._jobs += 1
        folder = self._folder / f"job{self._jobs}"
        folder.mkdir(parents=True)
        job = {"target": target, "world_size": world_size, "timeout": timeout, "folder": str(folder)}
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        self._helper.stdin.write(json.dumps({**job, "payload": payload}) + "\n")
        self._helper.stdin.flush()
        answer = self._helper.stdout.readline()
        assert answer, "the helper process died"
        return read_ranks(folder, json.loads(answer))

    def run(self, target: str, world_size: int = 1, timeout: float = 120, **payload) -> list[Any]:
        """As `start`, for jobs that must succeed: returns their results."""
        ranks = self.start(target, world_size, timeout, **payload)
        for number, rank in enumerate(ranks):
            assert rank.code == 0, f"rank {number} of {target} ended with {rank.code}:\n{rank.output[-4000:]}"
        return [rank.result for rank in ranks]

    def close(self) -> None:
        """End the helper; its forks die with it."""
        self._helper.kill()
        self._helper.wait()


def read_ranks(folder: Path, codes: list[int]) -> list[Rank]:
    """What the ranks of a finished job left in `folder`."""
    ranks = []
    for number, code in enumerate(codes):
        result, output = folder / f"rank{number}.pt", folder / f"rank{number}.log"
        ranks.append(
            Rank(
                code,
                torch.load(result, weights_only=False) if result.exists() else None,
                output.read_text() if output.exists() else "",
            )
        )
    return ranks


def launch(config: str, target: str, at: Path, timeout: float = 240, **payload) -> list[Any]:
    """As `Processes.run` on two ranks, started by `accelerate launch --config_file config`; all of it ends in time."""
    at.mkdir(parents=True, exist_ok=True)
    job = {"target": target, "folder": str(at), "payload": payload, "fsdp": "fsdp" in config}
    (at / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, "--num_processes", "2"]
    command += ["--mixed_precision", "no", "--main_process_port", str(free_port())]
    command += ["--module", "tests.distributed.launched", str(at / "job.json")]
    environment = {"DS_ACCELERATOR": "cpu"} if "zero" in config else {}
    run_to_its_end(command, at / "launch.log", timeout, **environment)
    return [rank.result for rank in read_ranks(at, [0, 0])]


def call(job: dict[str, Any], rank: int) -> None:
    """In a rank: run the job's function, store its result, and leave without destructors."""
    code = 1
    try:
        module, name = job["target"].split(":")
        result = getattr(importlib.import_module(module), name)(job["payload"])
        part = Path(job["folder"]) / f"rank{rank}.part"
        torch.save(result, part)
        part.rename(part.with_suffix(".pt"))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _fork(job: dict[str, Any], rank: int, port: int, helper: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != helper:
        os._exit(1)
    log = os.open(Path(job["folder"]) / f"rank{rank}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if job["world_size"] > 1:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(job["world_size"]),
            LOCAL_WORLD_SIZE=str(job["world_size"]),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
    call(job, rank)
    raise AssertionError("unreachable")


def _wait(pids: list[int], timeout: float) -> list[int]:
    """Exit codes. When one rank fails the others get a few seconds, as a launcher would give them, then SIGKILL."""
    deadline, codes = time.monotonic() + timeout, {}
    while len(codes) < len(pids):
        for pid in (p for p in pids if p not in codes):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                codes[pid] = os.waitstatus_to_exitcode(status)
                if codes[pid] != 0:
                    deadline = min(deadline, time.monotonic() + 10)
        if time.monotonic() > deadline:
            for pid in (p for p in pids if p not in codes):
                os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.02)
    return [codes[pid] for pid in pids]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _serve() -> None:
    # Imported here, once, for all forks
    from tests.reliability import workers  # noqa: F401

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for line in sys.stdin:
        job, helper, port = json.loads(line), os.getpid(), free_port()
        pids = [_fork(job, rank, port, helper) for rank in range(job["world_size"])]
        print(json.dumps(_wait(pids, job["timeout"])), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _serve()
