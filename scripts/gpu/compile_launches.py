"""Compile the fused head's kernels for GPUs that are not here, and read what each launch takes from a card.

    python scripts/gpu/compile_launches.py            # the launches of the table, bfloat16 and float32
    python scripts/gpu/compile_launches.py --all      # every candidate that `tune_launch.py` times, bfloat16

Prints one JSON object a kernel: registers a thread, bytes of stack (spilled registers) and of shared memory a block,
and the share of the card's warps that such blocks fill. Needs Triton, no GPU.
"""

import argparse
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import triton
from candidates import CANDIDATES
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from trl_entropy.functional.head import triton_kernels
from trl_entropy.functional.head.fused_triton import LAUNCHES, Cut


@dataclass(frozen=True)
class Limits:
    """Of one multiprocessor (CUDA C++ programming guide, compute capabilities); all have 65,536 registers."""

    warps: int
    shared: int  # bytes that one block may take


CARDS = {(8, 0): Limits(64, 163 * 2**10), (8, 6): Limits(48, 99 * 2**10), (8, 9): Limits(48, 99 * 2**10),
         (9, 0): Limits(64, 227 * 2**10)}  # fmt: skip
KERNELS = {"fold": "fold_kernel", "nucleus": "find_nucleus_kernel", "unfold": "unfold_kernel"}
FLAGS = {"CAPPED": True, "EXCLUSIVE": True, "ON_TARGET": True, "ON_ENTROPY": True, "ON_NUCLEUS": True}


def type_of(name: str, tile: str) -> str:
    if name.endswith("_ptr"):
        return {"tile_ptr": tile, "targets_ptr": "*i64", "last_ptr": "*i64", "size_ptr": "*i64"}.get(name, "*fp32")
    return "i32" if name in ("stride", "vocab") else "fp32"


def compiled(kernel: str, cut: Cut, card: tuple[int, int], tile: str) -> dict:
    """One kernel with everything switched on, for one card."""
    function = getattr(triton_kernels, KERNELS[kernel])
    names = function.arg_names
    constants = {k: v for k, v in {**FLAGS, "WAYS": cut.ways, "BLOCK": cut.block}.items() if k in names}
    signature = {name: "constexpr" if name in constants else type_of(name, tile) for name in names}
    source = ASTSource(function, signature, {(names.index(name),): value for name, value in constants.items()})
    target = GPUTarget("cuda", card[0] * 10 + card[1], 32)
    done = triton.compile(source, target=target, options={"num_warps": cut.warps})
    registers, stack = resources(done.asm["cubin"])
    limits = CARDS[card]
    # a warp takes registers in steps of 256
    warps = min(limits.warps, 65_536 // (-(-registers * 32 // 256) * 256)) // cut.warps * cut.warps
    return {
        "card": f"sm_{card[0]}{card[1]}", "kernel": kernel, "tile": tile[1:], "block": cut.block, "warps": cut.warps,
        "ways": cut.ways if kernel == "nucleus" else None, "registers": registers, "stack": stack,
        "shared": done.metadata.shared, "occupancy": warps / limits.warps,
        "fits": warps > 0 and done.metadata.shared <= limits.shared,
    }  # fmt: skip


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers a thread and bytes of stack of a compiled kernel, as Triton's own cuobjdump lists them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", str(path)]  # type: ignore[attr-defined]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", listed)
    assert found, listed
    return int(found[1]), int(found[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every candidate instead of the table's own")
    args = parser.parse_args()
    for card in CARDS:
        for kernel in KERNELS:
            cuts = CANDIDATES[kernel] if args.all else [getattr(LAUNCHES[card], kernel)]
            for cut in cuts:
                for tile in ["*bf16"] if args.all else ["*bf16", "*fp32"]:
                    print(json.dumps(compiled(kernel, cut, card, tile)), flush=True)


if __name__ == "__main__":
    main()
