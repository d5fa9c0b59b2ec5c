"""The fused head on a GPU: no worse than its plain twin against a float64 truth, at the sizes of real models.

`scripts/gpu_check.py` runs these. In its dry run the kernels are interpreted on a CPU, at tiny sizes.
"""

import os
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch

from tests.functional.heads import random_head, relative
from trl_entropy.functional import fused_log_probs
from trl_entropy.functional.head import fused
from trl_entropy.functional.head.dense import dense_log_probs
from trl_entropy.functional.head.fused_torch import padded
from trl_entropy.functional.head.rows import Rows, Settings


DRY = bool(os.environ.get("GPU_CHECK_DRY"))
DEVICE = "cpu" if DRY else "cuda"
WEIGHTS = (1.0, 0.7, -1.3)  # of log-probability, entropy and nucleus entropy in the loss
EVERYTHING = {"temperature": 0.7, "softcap": 30.0, "logit_scale": 1.3}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not DRY and not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.skipif(find_spec("triton") is None, reason="no Triton"),
]


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    if DRY:
        from trl_entropy.functional.head import fused_triton

        monkeypatch.setattr(fused, "tile_functions", lambda *_: (fused_triton.fold_tile, fused_triton.unfold_tile))
    yield
    if not DRY:
        torch.cuda.empty_cache()


def head_on_device(n: int, vocab: int, dtype: torch.dtype, bias: bool = False) -> dict:
    n, vocab = (min(n, 3), 100 + vocab % 100) if DRY else (n, vocab)
    head = random_head(n, vocab, dtype, width=64, bias=bias)
    return {name: value if value is None else value.to(DEVICE) for name, value in head.items()}


def measured(function, head: dict, rows: int | None = None, dtype: torch.dtype | None = None, **settings):
    """Outputs and gradients of one loss, `rows` tokens at a time; `dtype` to compute all of it in another one."""
    leaves = {
        name: value.to(dtype or value.dtype).detach().requires_grad_()
        for name, value in head.items()
        if name != "targets" and value is not None
    }
    n = len(head["targets"])
    scale = torch.linspace(0.5, 1.5, n, device=DEVICE)
    found = []
    for start in range(0, n, rows or n):
        here = slice(start, start + (rows or n))
        tensors = (leaves["hidden"][here], leaves["weight"], leaves.get("bias"), head["targets"][here])
        outputs = function(*tensors, return_nucleus_size=True, **settings)
        sum(w * (scale[here] * output).sum() for w, output in zip(WEIGHTS, outputs[:3], strict=True)).backward()
        found.append([output.detach() for output in outputs])
    outputs = [torch.cat(parts) for parts in zip(*found, strict=True)]
    names = ("log_prob", "entropy", "nucleus_entropy")
    return dict(zip(names, outputs[:3], strict=True)) | {f"by {k}": v.grad for k, v in leaves.items()}, outputs[3]


def assert_no_worse(head: dict, rows: int | None = None, **settings) -> None:
    """Errors at most 1.1 times the plain twin's; in float32 the same nuclei but for ties within rounding of top_p.

    Few rows scatter. Triton's interpreter cuts float32 to bfloat16 where a GPU rounds, which doubles that error.
    """
    allowed = 4 if DRY else 1.1 if len(head["targets"]) >= 64 else 2
    ours, our_size = measured(fused_log_probs, head, **settings)
    twin, twin_size = measured(dense_log_probs, head, rows, **settings)
    truth, _ = measured(dense_log_probs, head, rows, torch.float64, **settings)
    worse = {
        name: (relative(ours[name], true), relative(twin[name], true))
        for name, true in truth.items()
        if not relative(ours[name], true) <= allowed * relative(twin[name], true) + 1e-6
    }
    assert worse == {}
    if head["hidden"].dtype == torch.float32 and rows is None:
        assert (our_size - twin_size).abs().max() <= 1 + 1e-4 * twin_size.max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top_p", [0.8, 1.0])
@pytest.mark.parametrize("nucleus", ["inclusive", "exclusive"])
def test_dtypes_and_nuclei(dtype, top_p, nucleus):
    assert_no_worse(head_on_device(256, 50_000, dtype, bias=True), top_p=top_p, nucleus=nucleus, **EVERYTHING)


@pytest.mark.parametrize("setting", ["temperature", "softcap", "logit_scale"])
def test_one_setting_at_a_time(setting):
    assert_no_worse(head_on_device(64, 32_000, torch.bfloat16), top_p=0.8, **{setting: EVERYTHING[setting]})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "vocab"), [(1, 32_000), (3, 32_003), (257, 50_257), (100, 128_256), (64, 256_000)])
def test_odd_sizes(n, vocab, dtype):
    assert_no_worse(head_on_device(n, vocab, dtype), top_p=0.8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_impossible_words(dtype):
    head = head_on_device(32, 50_000, dtype, bias=True)
    head["bias"][: len(head["bias"]) // 2] = -torch.inf
    head["targets"][:] = len(head["bias"]) - 1
    assert_no_worse(head, top_p=0.8)


def test_a_broken_row_stays_alone():
    head = head_on_device(3, 50_000, torch.bfloat16)
    head["hidden"][1] = torch.nan
    outputs = fused_log_probs(head["hidden"], head["weight"], None, head["targets"], top_p=0.8)
    for output in outputs:
        assert output.isnan().tolist() == [False, True, False]


def test_the_same_bits_again_and_whatever_else_is_asked_for():
    head = head_on_device(300, 151_936, torch.bfloat16)
    first, again = (measured(fused_log_probs, head, top_p=0.8)[0] for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
    assert torch.equal(first["log_prob"], measured(fused_log_probs, head, top_p=1.0)[0]["log_prob"])


def test_autocast():
    """float32 weights under bfloat16 autocast give what bfloat16 weights give, and float32 gradients."""
    head = head_on_device(64, 32_000, torch.float32)
    low = {k: v.bfloat16() if v is not None and v.is_floating_point() else v for k, v in head.items()}
    with torch.autocast(DEVICE, torch.bfloat16):
        ours, _ = measured(fused_log_probs, head, top_p=0.8)
    expected, _ = measured(fused_log_probs, low, top_p=0.8)
    assert ours["by weight"].dtype == torch.float32
    for name, value in expected.items():
        assert relative(ours[name], value) < (1e-6 if "by" not in name else 1e-2), name


def test_inside_torch_compile(monkeypatch):
    if DRY:  # the compiler would follow the interpreter
        monkeypatch.undo()
    head = head_on_device(64, 32_000, torch.bfloat16)

    def loss(hidden):
        outputs = fused_log_probs(hidden * 2, head["weight"], None, head["targets"], top_p=0.8)
        return sum(output.sum() for output in outputs)

    grads = []
    for function in (loss, torch.compile(loss, backend="eager" if DRY else "inductor")):
        hidden = head["hidden"].clone().requires_grad_()
        function(hidden).backward()
        grads.append(hidden.grad)
    assert torch.equal(*grads)


def test_the_host_never_waits():
    head = head_on_device(300, 151_936, torch.bfloat16)
    measured(fused_log_probs, head, top_p=0.8)  # compiles
    if not DRY:
        torch.cuda.set_sync_debug_mode("error")
    try:
        measured(fused_log_probs, head, top_p=0.8)
    finally:
        if not DRY:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocab", [1, 1023, 1024, 50_257])
def test_nothing_is_written_out_of_bounds(vocab, dtype):
    """Tile and results lie between guards; only gradients of words and results of rows change."""
    vocab = min(vocab, 1100) if DRY else vocab
    fold, unfold = fused.tile_functions(torch.device(DEVICE), dtype)
    guarded = torch.full((5, padded(vocab) + 64), 7.0, dtype=dtype, device=DEVICE)
    products = torch.randn(3, vocab, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    guarded[1:4, :vocab] = products
    tile, targets = guarded[1:4, : padded(vocab)], torch.full((3,), vocab - 1, device=DEVICE)
    rows = Rows.empty(5, guarded.device, torch.float32)
    results = [t for t in rows.tensors() if len(t) == 5]
    for tensor in results:
        tensor.fill_(7)
    settings = Settings(1.0, 0.8, "inclusive", 1.0, None, dtype)
    with torch.cuda.device(0) if not DRY else nullcontext():
        fold(tile, vocab, None, targets, settings, rows[1:4])
        unfold(tile, vocab, None, targets, settings, rows[1:4], (torch.ones(3, device=DEVICE),) * 3)
    assert len(results) >= 8
    for tensor in results:
        assert (tensor[[0, 4]] == 7).all()
    assert (guarded[[0, 4]] == 7).all() and (guarded[:, vocab:] == 7).all()
    assert (guarded[1:4, :vocab] != products).any() or vocab == 1


@pytest.mark.parametrize("vocab", [32_000, 151_936, 256_000])
def test_a_long_batch(vocab):
    assert_no_worse(head_on_device(16_384, vocab, torch.bfloat16), rows=512, top_p=0.8)
