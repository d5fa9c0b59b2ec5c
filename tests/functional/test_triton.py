"""The Triton kernels without a GPU: run in Triton's interpreter, and compiled for four kinds of cards."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from trl_entropy.functional.head import fused, fused_torch


ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no release for this platform")


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
def test_the_launches_fit_every_card(tmp_path):
    """What the interpreter cannot see. No GPU is needed to compile for one. A spilled register would show as stack."""
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = ROOT / "scripts" / "gpu" / "compile_launches.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**env, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(one["card"], one["kernel"], one["tile"]) for one in found} == {
        (card, kernel, tile)
        for card in ("sm_80", "sm_86", "sm_89", "sm_90")
        for kernel in ("fold", "nucleus", "unfold")
        for tile in ("bf16", "fp32")
    }
    assert [one for one in found if one["stack"] or not one["fits"]] == []
    assert min(one["occupancy"] for one in found) >= 0.25


@needs_triton
def test_which_launch_a_card_gets():
    from trl_entropy.functional.head.fused_triton import LAUNCHES, launch_for

    assert all(launch_for(kind) is launch for kind, launch in LAUNCHES.items())
    assert launch_for((8, 7)) is LAUNCHES[8, 6]
    assert launch_for((10, 0)) is LAUNCHES[9, 0]
    assert launch_for((12, 1)) is LAUNCHES[12, 0]
    assert launch_for((7, 5)) is LAUNCHES[8, 0]
    for launch in LAUNCHES.values():  # Triton's own demand
        for cut in (launch.fold, launch.nucleus, launch.unfold):
            assert all(number & (number - 1) == 0 for number in (cut.block, cut.warps, cut.ways))


def test_which_tiles_are_chosen():
    plain = (fused_torch.fold_tile, fused_torch.unfold_tile)
    assert fused.tile_functions(torch.device("cpu"), torch.float32) == plain
    assert fused.tile_functions(torch.device("cuda"), torch.float64) == plain


@needs_triton
def test_cuda_takes_the_kernels():
    fold, unfold = fused.tile_functions(torch.device("cuda"), torch.bfloat16)
    assert {fold.__module__, unfold.__module__} == {"trl_entropy.functional.head.fused_triton"}
