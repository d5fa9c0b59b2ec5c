"""Times every candidate launch of the three kernels on this card and says whether the table holds the fastest."""

from dataclasses import replace
from importlib.util import find_spec

import torch
from gpu_results import attempt, finish, record, skip
from gpu_stage import DEVICE, DRY, left, seconds, size


if find_spec("triton") is None:
    skip("Triton is not installed")

import triton
from candidates import CANDIDATES

from trl_entropy.functional.head import fused_triton
from trl_entropy.functional.head.fused_torch import padded
from trl_entropy.functional.head.fused_triton import Cut, fold_tile, launch_for, unfold_tile
from trl_entropy.functional.head.rows import Rows, Settings


ROWS, VOCAB = size(3500, 4), size(151_936, 300)
KIND = torch.cuda.get_device_capability() if DEVICE == "cuda" else (0, 0)
TABLE = launch_for(KIND)
SETTINGS = Settings(1.0, 0.8, "inclusive", 1.0, None, torch.bfloat16)
PLAIN = replace(SETTINGS, top_p=1.0)


def tile() -> torch.Tensor:
    generator = torch.Generator(device=DEVICE).manual_seed(0)
    # peaked to flat, as a language model's
    spread = torch.logspace(0, 1.5, ROWS, device=DEVICE).unsqueeze(1)
    return (torch.randn(ROWS, padded(VOCAB), generator=generator, device=DEVICE) * spread).bfloat16()


def measured(kernel: str, cut: Cut, products: torch.Tensor, targets: torch.Tensor) -> float:
    """Seconds of one kernel on a tile; the nucleus' is the fold with it minus the fold alone."""
    fused_triton.LAUNCHES = {(0, 0): replace(TABLE, **{kernel: cut})}
    rows = Rows.empty(ROWS, products.device, torch.float32)
    repeats = size(9, 1)
    if kernel == "unfold":
        fold_tile(products, VOCAB, None, targets, SETTINGS, rows)
        gradients = tuple(torch.full((ROWS,), 1e-3, device=DEVICE) for _ in range(3))
        work = products.clone()  # overwritten with gradients: other numbers, the same work
        return seconds(lambda: unfold_tile(work, VOCAB, None, targets, SETTINGS, rows, gradients), repeats)
    plain = seconds(lambda: fold_tile(products, VOCAB, None, targets, PLAIN, rows), repeats)
    if kernel == "fold":
        return plain
    return seconds(lambda: fold_tile(products, VOCAB, None, targets, SETTINGS, rows), repeats) - plain


def tune(kernel: str) -> None:
    products, targets = tile(), torch.zeros(ROWS, dtype=torch.int64, device=DEVICE)
    own, found = getattr(TABLE, kernel), {}
    for cut in sorted(CANDIDATES[kernel], key=lambda cut: cut != own)[: size(None, 2)]:
        if left() < 3:
            break
        took = attempt(f"{kernel} {cut}", lambda cut=cut: measured(kernel, cut, products, targets))
        if took is not None:
            found[cut] = took
            bytes_once = ROWS * VOCAB * 2 * (2 if kernel == "unfold" else 1)
            record(
                kernel, block=cut.block, warps=cut.warps, ways=cut.ways, ms=1e3 * took,
                gb_per_s=bytes_once / took / 1e9 if took > 0 else None, in_table=cut == own,
            )  # fmt: skip
    best = min(found, key=found.__getitem__)
    record(
        f"{kernel}: fastest", card=f"sm_{KIND[0]}{KIND[1]}", best=str(best), table_over_best=found[own] / found[best]
    )


if DRY and not triton.knobs.runtime.interpret:  # type: ignore[attr-defined]
    raise SystemExit("On a CPU this stage needs TRITON_INTERPRET=1.")
for kernel in CANDIDATES:
    attempt(kernel, lambda kernel=kernel: tune(kernel))
finish()
