"""Card, driver and versions, and the two rates that everything else is held against: a copy's and a product's."""

import platform
import shutil
import subprocess
from importlib import metadata

import torch
from gpu_results import attempt, finish, record
from gpu_stage import DEVICE, seconds, size


PACKAGES = ("torch", "triton", "transformers", "trl", "datasets", "accelerate", "peft", "math-verify", "vllm")
# Rows, width and vocabulary of a tile's product in Qwen2.5-0.5B and 7B
PRODUCTS = size([(3584, 896, 151_936), (3584, 3584, 152_064)], [(64, 32, 512)])


def versions() -> None:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    record("versions", python=platform.python_version(), **found)


def card() -> None:
    if DEVICE == "cuda":
        seen = torch.cuda.get_device_properties(0)
        record(
            seen.name,
            capability=f"{seen.major}.{seen.minor}",
            multiprocessors=seen.multi_processor_count,
            gib=seen.total_memory / 2**30,
            l2_mib=seen.L2_cache_size / 2**20,
        )
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
        record("nvidia-smi: driver, SM clock, its maximum, memory clock, power limit, temperature", answer=done.stdout)


def copy_rate() -> None:
    source = torch.empty(size(2**31, 2**22), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    took = seconds(lambda: target.copy_(source))
    record("copy, bytes read and written", gb_per_s=2 * source.numel() / took / 1e9)


def product_rate() -> None:
    for rows, width, vocab in PRODUCTS:
        hidden = torch.randn(rows, width, device=DEVICE).bfloat16()
        weight = torch.randn(vocab, width, device=DEVICE).bfloat16()
        took = seconds(lambda hidden=hidden, weight=weight: hidden @ weight.t())
        flops = 2 * rows * width * vocab
        record("product in bfloat16", rows=rows, width=width, vocab=vocab, tflop_per_s=flops / took / 1e12)


for part in (versions, card, copy_rate, product_rate):
    attempt(part.__name__, part)
finish()
