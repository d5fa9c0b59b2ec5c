"""The Triton kernels on CPU tensors, against the torch tiles and the plain twin. Run by `test_triton.py`.

Not collected by itself: Triton's interpreter has to be chosen before Triton is first imported.
"""

import math
import statistics
from collections import defaultdict

import pytest
import torch

from tests.functional.heads import head_of, random_head, relative, run, run_each, run_sets
from trl_entropy.functional import fused_log_probs
from trl_entropy.functional.head import fused, fused_triton
from trl_entropy.functional.head.dense import dense_log_probs
from trl_entropy.functional.head.sets import DropShare, MinP


KINDS = pytest.mark.parametrize("nucleus", ["inclusive", "exclusive"])


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    monkeypatch.setattr(fused, "tile_functions", lambda *_: (fused_triton.fold_tile, fused_triton.unfold_tile))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_p", [0.8, *(pytest.param(p, marks=pytest.mark.slow) for p in (0.05, 0.999999, 1.0))])
@KINDS
def test_equals_the_plain_twin(dtype, top_p, nucleus):
    """Flat to peaked rows over two blocks; temperature, bias, scale and soft-capping; several tiles."""
    head = random_head(4, 1500, dtype, bias=True)
    settings = {"nucleus": nucleus, "logit_scale": 1.3, "softcap": 20.0}
    tile_bytes = 3 * 1536 * dtype.itemsize
    ours, our_grads = run(fused_log_probs, head, 0.7, top_p, tile_bytes=tile_bytes, **settings)
    twin, twin_grads = run(dense_log_probs, head, 0.7, top_p, **settings)
    assert torch.equal(ours[3], twin[3])
    for a, b in zip(ours[:3], twin[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for name, gradient in twin_grads.items():
        assert relative(our_grads[name], gradient) < (1e-5 if dtype == torch.float32 else 1e-2)


def test_error_budget():
    """Against a float64 truth no worse than the plain twin, where products do not round.

    The weight's gradients are then the logits'; those by the hidden states are sums, which round in either head.
    """
    ratios = defaultdict(list)
    for seed in range(3):
        head = random_head(10, 1500, width=32, seed=seed)
        head |= head_of(head["hidden"] @ head["weight"].t()) | {"targets": head["targets"]}
        truth_head = {k: v.double() if v is not None and v.is_floating_point() else v for k, v in head.items()}
        ours, twin = run_each(fused_log_probs, head, 1.0, 0.9), run_each(dense_log_probs, head, 1.0, 0.9)
        for name, true in run_each(dense_log_probs, truth_head, 1.0, 0.9).items():
            ratios[name].append(relative(ours[name], true) / relative(twin[name], true))
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    assert {name: ratio for name, ratio in medians.items() if ratio > 1 and "by hidden" not in name} == {}


@pytest.mark.parametrize("top_p", [pytest.param(0.3, marks=pytest.mark.slow), 0.8])
@KINDS
def test_ties_go_to_the_smaller_index(top_p, nucleus):
    logits = torch.randint(0, 4, (3, 1100), generator=torch.Generator().manual_seed(3)).float()
    ours, our_grads = run(fused_log_probs, head_of(logits), 1.0, top_p, nucleus=nucleus, weights=(0.0, 0.0, 1.0))
    twin, twin_grads = run(dense_log_probs, head_of(logits), 1.0, top_p, nucleus=nucleus, weights=(0.0, 0.0, 1.0))
    assert torch.equal(ours[3], twin[3])
    assert torch.equal(our_grads["weight"].abs() > 1e-7, twin_grads["weight"].abs() > 1e-7)


def test_a_few_readings_find_the_cut_off_of_extreme_rows():
    """All equal; one token; two values; values a last bit apart; a range of 10^4; around zero."""
    last_bit = torch.full((40,), 1.0)
    last_bit[::2] = 1 + 2**-23
    rows = [
        torch.zeros(40),
        torch.eye(40)[7] * 80,
        torch.arange(40) % 2 * 1.0,
        last_bit,
        torch.linspace(-1e4, 1e4, 40),
        torch.tensor([1e-38, -1e-38, 0.0, 1e-30]).repeat(10),
    ]
    for top_p in (0.3, 1 - 1e-9):
        ours = run(fused_log_probs, head_of(torch.stack(rows)), 1.0, top_p)[0]
        twin = run(dense_log_probs, head_of(torch.stack(rows)), 1.0, top_p)[0]
        assert torch.equal(ours[3], twin[3])
        torch.testing.assert_close(ours[2], twin[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_gradient_alone(which):
    head = random_head(5, 200)
    weights = tuple(float(i == which) for i in range(3))
    hidden = head["hidden"].clone().requires_grad_()
    output = fused_log_probs(hidden, head["weight"], None, head["targets"], top_p=0.8)[which]
    (torch.linspace(0.5, 1.5, 5) * output).sum().backward()
    _, twin_grads = run(dense_log_probs, head, 1.0, 0.8, weights=weights)
    torch.testing.assert_close(hidden.grad, twin_grads["hidden"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_nan_and_inf_logits_give_nan_everywhere(bad, top_p):
    head = random_head(1, 1100, bias=True)
    head["bias"][1050] = bad
    outputs, grads = run(fused_log_probs, head, 1.0, top_p)
    assert all(x.isnan().all() for x in outputs[:3])
    assert outputs[3].tolist() == [0]
    assert grads["hidden"].isnan().all()


@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_minus_infinity_is_probability_zero(top_p):
    """Here the whole first block is forbidden."""
    head = random_head(3, 1500, bias=True)
    head["bias"][:1100] = -math.inf
    head["targets"][:] = 1200
    ours, our_grads = run(fused_log_probs, head, 1.0, top_p)
    twin, twin_grads = run(dense_log_probs, head, 1.0, top_p)
    for a, b in zip(ours, twin, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert relative(our_grads["hidden"], twin_grads["hidden"]) < 1e-5
    head["bias"][:] = -math.inf
    assert run(fused_log_probs, head, 1.0, top_p)[0][0].isnan().all()


def test_a_target_outside_the_vocabulary_gives_nan():
    """Where the targets live on a GPU, looking at them first would stall it."""
    logits = torch.randn(3, 50)
    out = fused.Rows.empty(3, logits.device, torch.float32)
    settings = fused.Settings(1.0, 0.8, "inclusive", 1.0, None, torch.float32)
    fused_triton.fold_tile(logits, 50, None, torch.tensor([-100, 4, 50]), settings, out)
    assert out.log_prob.isnan().tolist() == [True, False, True]
    assert out.entropy.isfinite().all()


def test_no_tokens():
    head = random_head(3, 50)
    outputs = fused_log_probs(head["hidden"][:0], head["weight"], None, head["targets"][:0], top_p=0.8)
    assert all(len(x) == 0 for x in outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_sets_beside_the_nucleus(dtype, top_p):
    """Measured by a second pass over the tile; their gradients are added to the kernels'. NaN stays in its row."""
    head = random_head(4, 1100, dtype, bias=True)
    head["hidden"][1] = math.nan
    settings = {"temperature": 0.7, "top_p": top_p, "softcap": 20.0, "logit_scale": 1.3, "return_top_two": True}
    sets = (MinP(0.02), DropShare(0.3))
    ours, our_gradients = run_sets(
        fused_log_probs, head, sets, tile_bytes=3 * 1152 * torch.empty((), dtype=dtype).itemsize, **settings
    )
    twin, twin_gradients = run_sets(dense_log_probs, head, sets, **settings)
    for name, value in twin.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5, equal_nan=True)
    rows = torch.tensor([0, 2, 3])
    for name, gradient in twin_gradients.items():
        if "by hidden" in name:
            assert our_gradients[name][1].isnan().all()
            bound = 1e-4 if dtype == torch.float32 else 2e-2
            assert relative(our_gradients[name][rows], gradient[rows]) < bound


def test_a_sum_of_all_gradients():
    """The kernels' and the sets' in one backward."""
    head = random_head(5, 200)
    grads = []
    for function in (fused_log_probs, dense_log_probs):
        hidden = head["hidden"].clone().requires_grad_()
        outputs = function(hidden, head["weight"], None, head["targets"], top_p=0.8, sets=(MinP(0.1), DropShare(0.3)))
        sum(weight * x.sum() for weight, x in enumerate(outputs, 1)).backward()
        grads.append(hidden.grad)
    assert relative(*grads) < 1e-5
