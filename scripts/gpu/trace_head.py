"""Where the head's time goes: its operations by time on the device, and a trace for a viewer."""

import gzip
import os
from pathlib import Path

import torch
from bench_contestants import HEADS, Problem, forward_backward
from bench_head import OURS
from gpu_results import record
from gpu_stage import DEVICE, size
from torch.profiler import ProfilerActivity, profile


SHOWN = 12
MOST_BYTES = 12 * 2**20  # of the trace, so that it can be sent about

problem = Problem.make(size(8192, 48), size(896, 32), size(151_936, 1500), torch.bfloat16, DEVICE)
forward_backward(HEADS[OURS], problem)
activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE == "cuda" else [])]
with profile(activities=activities) as seen:
    forward_backward(HEADS[OURS], problem)
    if DEVICE == "cuda":
        torch.cuda.synchronize()
key = "self_device_time_total" if DEVICE == "cuda" else "self_cpu_time_total"
events = sorted(seen.key_averages(), key=lambda event: -getattr(event, key))[:SHOWN]
total = sum(getattr(event, key) for event in seen.key_averages()) or 1
for event in events:
    spent = getattr(event, key)
    record(event.key[:80], calls=event.count, ms=spent / 1e3, share=spent / total)
folder = Path(os.environ.get("GPU_CHECK_OUT", "."))
plain = folder / "trace.json"
seen.export_chrome_trace(str(plain))
packed = gzip.compress(plain.read_bytes())
plain.unlink()
if len(packed) <= MOST_BYTES:
    (folder / "trace.json.gz").write_bytes(packed)
record("trace.json.gz", bytes=len(packed), kept=len(packed) <= MOST_BYTES)
