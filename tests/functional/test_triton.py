"""The Triton kernels: run in Triton's interpreter, and compiled for two generations of GPUs, without a GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.functional.heads import random_head, relative, run
from trl_entropy.functional import fused_log_probs
from trl_entropy.functional.head import fused, fused_torch
from trl_entropy.functional.head.dense import dense_log_probs


ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no release for this platform")

COMPILE = """
from triton.compiler import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from trl_entropy.functional.head import triton_kernels as kernels
from trl_entropy.functional.head.fused_triton import BLOCK, WAYS

FLAGS = {"CAPPED": True, "EXCLUSIVE": True, "ON_TARGET": True, "ON_ENTROPY": True, "ON_NUCLEUS": True}
SIZES = {"WAYS": WAYS, "BLOCK": BLOCK}

def type_of(name, tile):
    if name.endswith("_ptr"):
        return {"tile_ptr": tile, "targets_ptr": "*i64", "last_ptr": "*i64", "size_ptr": "*i64"}.get(name, "*fp32")
    return "i32" if name in ("stride", "vocab") else "fp32"

for capability in (80, 90):
    for tile in ("*bf16", "*fp32"):
        for kernel in (kernels.fold_kernel, kernels.find_nucleus_kernel, kernels.unfold_kernel):
            names = kernel.arg_names
            constants = {name: value for name, value in {**FLAGS, **SIZES}.items() if name in names}
            signature = {name: "constexpr" if name in constants else type_of(name, tile) for name in names}
            places = {(names.index(name),): value for name, value in constants.items()}
            compiled = compile(ASTSource(kernel, signature, places), target=GPUTarget("cuda", capability, 32))
            assert len(compiled.asm["cubin"]) > 1000
            print("compiled", kernel.__name__, tile, capability)
"""


@needs_triton
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_the_kernels_in_the_interpreter(which):
    cases = Path(__file__).with_name("interpreted_triton.py")
    run_cases = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", which, str(cases)]
    done = subprocess.run(
        run_cases, cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.slow
@needs_triton
def test_the_kernels_compile_for_gpus(tmp_path):
    """What the interpreter cannot see. No GPU is needed to compile for one."""
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        cwd=ROOT,
        env={**env, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("compiled") == 12


def test_which_tiles_are_chosen():
    plain = (fused_torch.fold_tile, fused_torch.unfold_tile)
    assert fused.tile_functions(torch.device("cpu"), torch.float32) == plain
    assert fused.tile_functions(torch.device("cuda"), torch.float64) == plain


@needs_triton
def test_cuda_takes_the_kernels():
    fold, unfold = fused.tile_functions(torch.device("cuda"), torch.bfloat16)
    assert {fold.__module__, unfold.__module__} == {"trl_entropy.functional.head.fused_triton"}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_p", [0.8, 1.0])
@pytest.mark.parametrize("nucleus", ["inclusive", "exclusive"])
def test_on_a_gpu(dtype, top_p, nucleus):
    """Against a float64 truth on the same logits, no worse than the plain twin on the GPU."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    head = {
        k: None if v is None else v.cuda() for k, v in random_head(256, 50_000, dtype, width=64, bias=True).items()
    }
    ours, our_grads = run(fused_log_probs, head, 0.7, top_p, nucleus=nucleus, softcap=30.0)
    twin, twin_grads = run(dense_log_probs, head, 0.7, top_p, nucleus=nucleus, softcap=30.0)
    truth_head = {k: v.double() if v is not None and v.is_floating_point() else v for k, v in head.items()}
    truth, true_grads = run(dense_log_probs, truth_head, 0.7, top_p, nucleus=nucleus, softcap=30.0)
    # the products of a tile and of the whole round alike, so that the sets differ by tokens within rounding of top_p
    assert (ours[3] - twin[3]).abs().max() <= 1 + 1e-4 * twin[3].max()
    for a, b, true in zip(ours[:3], twin[:3], truth[:3], strict=True):
        assert relative(a, true) <= 1.1 * relative(b, true) + 1e-6
    for name, true in true_grads.items():
        assert relative(our_grads[name], true) <= 1.1 * relative(twin_grads[name], true) + 1e-6
