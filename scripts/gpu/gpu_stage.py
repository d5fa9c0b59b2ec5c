"""What every stage asks: is it a dry run, on which device, how much time is left."""

import os
import time

import torch


DRY = bool(os.environ.get("GPU_CHECK_DRY"))
DEVICE = "cpu" if DRY else "cuda"
START = time.monotonic()
SECONDS = float(os.environ.get("GPU_CHECK_SECONDS", "inf"))

if DRY:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
elif not torch.cuda.is_available():
    raise SystemExit("No CUDA device. Give --dry-run to go through the stages on a CPU.")


def left() -> float:
    """Seconds until this stage is cut off."""
    return SECONDS - (time.monotonic() - START)


def size(real, dry):
    """The first, in a dry run the second."""
    return dry if DRY else real


def seconds(function, repeats: int = 5, warm: int = 2) -> float:
    """Median time of a call, after some that warm up; on a GPU by its own clock."""
    for _ in range(size(warm, min(warm, 1))):
        function()
    found = []
    for _ in range(repeats):
        if DEVICE == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            function()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end) / 1e3)
        else:
            start = time.perf_counter()
            function()
            found.append(time.perf_counter() - start)
    return sorted(found)[len(found) // 2]


def peak_mib(function) -> float | None:
    """MiB that a call takes beyond what was there before; unknown on a CPU."""
    if DEVICE != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
