"""Sets beside the nucleus: numbers by hand, slow loops, the plain twin, gradients, ties, broken rows, precision."""

import math
import statistics
from collections import defaultdict

import pytest
import torch

from tests.functional.heads import head_of, random_head, relative, run_sets, slow_set
from trl_entropy.functional import fused_log_probs
from trl_entropy.functional.head import fused, fused_sets, fused_torch
from trl_entropy.functional.head.dense import dense_log_probs
from trl_entropy.functional.head.fused_sets import find_sets, set_gradient
from trl_entropy.functional.head.sets import DropShare, MinP


BOTH = pytest.mark.parametrize("function", [fused_log_probs, dense_log_probs])
SETS = (MinP(0.02), DropShare(0.3), MinP(1e-9), DropShare(0.0), DropShare(0.95), MinP(1.0))


@pytest.fixture(params=[False, True], ids=["cpu", "accelerator"])
def way(request, monkeypatch):
    """Both ways to the cut-off: the CPU's, and that of accelerators, which takes nothing row by row."""
    if request.param:
        monkeypatch.setattr(fused_torch, "many_small_steps_are_cheap", lambda _: False)
        for search in ("_search_kept", "_search_min_p"):
            monkeypatch.setattr(fused_sets, search, lambda *_: pytest.fail("one row at a time"))


@BOTH
def test_numbers_by_hand(function):
    """Probabilities 1/2, 1/4, 1/8, 1/8. Min-p 0.4 keeps {1/2, 1/4}; without 30 % of four words the last one goes."""
    head = head_of(torch.tensor([[0.25, 0.125, 0.5, 0.125]], dtype=torch.float64).log())
    found, gradients = run_sets(function, head, (MinP(0.4), DropShare(0.3)), return_top_two=True)
    two_thirds = math.log(3) - 2 / 3 * math.log(2)
    assert found["0 log_mass"].item() == pytest.approx(math.log(0.75), abs=1e-12)
    assert found["0 entropy"].item() == pytest.approx(two_thirds, abs=1e-12)
    assert found["1 log_mass"].item() == pytest.approx(math.log(0.875), abs=1e-12)
    q = [2 / 7, 1 / 7, 4 / 7]
    assert found["1 entropy"].item() == pytest.approx(-sum(x * math.log(x) for x in q), abs=1e-12)
    assert found["top_two"].tolist() == [pytest.approx([0.5, 0.25], abs=1e-12)]
    # q_j - p_j inside and -p_j outside, times the token's weight 1/2
    expected = [(1 / 3 - 1 / 4) / 2, -1 / 16, (2 / 3 - 1 / 2) / 2, -1 / 16]
    assert gradients["0 log_mass by weight"].squeeze().tolist() == pytest.approx(expected, abs=1e-12)
    expected = [-x * (math.log(x) + found["1 entropy"].item()) / 2 for x in q]
    expected.insert(3, 0.0)
    assert gradients["1 entropy by weight"].squeeze().tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("share", "vocab", "kept"), [(0.3, 4, 3), (0.3, 10, 7), (0.24, 4, 4), (0.99, 4, 1), (0, 9, 9)]
)
def test_how_many_words_stay(share, vocab, kept):
    """All but the floor of the share."""
    assert DropShare(share).kept(vocab) == kept
    assert DropShare(share).mask(torch.zeros(2, vocab)).sum(-1).tolist() == [kept, kept]


@pytest.mark.parametrize("one", SETS, ids=str)
@pytest.mark.parametrize("integers", [False, True], ids=["", "ties"])
def test_equals_slow_loops(one, integers, way):
    logits = torch.randn(6, 90, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    logits = logits.round() if integers else logits
    found, gradients = run_sets(fused_log_probs, head_of(logits), (one,))
    for row, z in enumerate(logits):
        log_mass, entropy, by_mass, by_entropy = slow_set(z.tolist(), one)
        weight = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)[row].item()
        assert found["0 log_mass"][row].item() == pytest.approx(log_mass, abs=1e-12)
        assert found["0 entropy"][row].item() == pytest.approx(entropy, abs=1e-12)
        for name, expected in (("log_mass", by_mass), ("entropy", by_entropy)):
            by_logits = (gradients[f"0 {name} by weight"][:, row] / weight).tolist()
            assert by_logits == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("vocab", [1, 2, 31, 32, 64, 65, 2500])
@pytest.mark.parametrize("top_p", [0.8, 1.0])
def test_equals_the_plain_twin_in_float64(vocab, top_p, way):
    head = random_head(20, vocab, torch.float64, bias=True)
    settings = {"logit_scale": 1.3, "softcap": 20.0, "temperature": 0.7, "top_p": top_p, "return_top_two": True}
    ours, our_gradients = run_sets(fused_log_probs, head, SETS, tile_bytes=8 * 7 * (vocab + 64), **settings)
    twin, twin_gradients = run_sets(dense_log_probs, head, SETS, **settings)
    assert ours.keys() == twin.keys()
    for name, value in twin.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-11)
    for name, gradient in twin_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_sets_as_sorting_in_a_large_vocabulary(dtype, way):
    """Peaked and flat rows, in bfloat16 with thousands of ties; a word inside for one and outside for the other shows
    as the whole of its gradient."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(16, 5000, generator=generator) * torch.logspace(-1, 1.3, 16).unsqueeze(1)
    logits[3] = 1.5
    logits[4, ::2], logits[4, 1::2] = 0.5, -0.5
    head = head_of(logits.to(dtype))
    ours, our_gradients = run_sets(fused_log_probs, head, SETS)
    twin, twin_gradients = run_sets(dense_log_probs, head, SETS)
    for name, value in twin.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5)
    for name, gradient in twin_gradients.items():
        if "by weight" in name:
            torch.testing.assert_close(our_gradients[name], gradient, rtol=3e-2, atol=3e-6)


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_gradcheck(softcap):
    head = random_head(4, 13, torch.float64, bias=True, width=4)
    leaves = [head[name].requires_grad_() for name in ("hidden", "weight", "bias")]

    def outputs(*leaves):
        sets = (MinP(0.1), DropShare(0.4))
        return fused_log_probs(*leaves, head["targets"], 1.4, 0.7, softcap=softcap, logit_scale=0.6, sets=sets)

    assert torch.autograd.gradcheck(outputs, leaves)


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("vocab", [30, 3000])
def test_a_broken_row_is_nan_and_leaves_the_others_alone(function, bad, vocab, way):
    head = head_of(torch.randn(4, vocab, generator=torch.Generator().manual_seed(1)))
    clean, _ = run_sets(function, head, SETS)
    head["hidden"][2] = bad
    found, gradients = run_sets(function, head, SETS)
    others = torch.tensor([0, 1, 3])
    for name, value in clean.items():
        assert torch.equal(found[name][others], value[others])
        assert found[name][2].isnan()
        assert gradients[f"{name} by hidden"][others].isfinite().all()
        assert gradients[f"{name} by hidden"][2].isnan().any()


@BOTH
def test_minus_infinity_is_probability_zero(function, way):
    """A third of the words forbidden. Min-p is that of the smaller head; of a count the forbidden words go first."""
    head = random_head(5, 300, torch.float64, bias=True)
    allowed = torch.arange(300) % 3 > 0
    head["targets"] = allowed.nonzero().squeeze(1)[:5]
    smaller = {**head, "weight": head["weight"][allowed], "bias": head["bias"][allowed], "targets": torch.arange(5)}
    head["bias"][~allowed] = -math.inf
    # 300 - 150 = 200 - 50; a share of 0.2 of the 300 drops forbidden words alone
    found, gradients = run_sets(function, head, (MinP(0.02), DropShare(0.5), DropShare(0.2)))
    expected, expected_gradients = run_sets(function, smaller, (MinP(0.02), DropShare(0.25), DropShare(0.0)))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12)
        name = f"{name} by hidden"
        torch.testing.assert_close(gradients[name], expected_gradients[name], rtol=1e-9, atol=1e-12)


@BOTH
def test_no_tokens(function):
    head = random_head(4, 30)
    head = {**head, "hidden": head["hidden"][:0], "targets": head["targets"][:0]}
    found, gradients = run_sets(function, head, SETS, return_top_two=True)
    assert all(len(value) == 0 for value in found.values())
    assert not any(gradient.any() for name, gradient in gradients.items() if "by weight" in name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_budget(dtype):
    """Against a float64 truth on products that do not round, in nothing worse than the plain twin."""
    ratios = defaultdict(list)
    sets = (MinP(0.02), DropShare(0.3))
    for seed in range(11):
        head = random_head(48, 1500, dtype, width=32, seed=seed)
        head |= head_of(head["hidden"] @ head["weight"].t()) | {"targets": head["targets"]}
        exact = {k: v.double() if v is not None and v.is_floating_point() else v for k, v in head.items()}
        ours, twin, truth = (
            values | gradients
            for values, gradients in (
                run_sets(function, inputs, sets)
                for function, inputs in ((fused_log_probs, head), (dense_log_probs, head), (dense_log_probs, exact))
            )
        )
        for name, true in truth.items():
            ratios[name].append(relative(ours[name], true) / relative(twin[name], true))
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    assert len(medians) == 12
    assert {name: ratio for name, ratio in medians.items() if ratio > 1 + 1e-3} == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("gradient", [False, True])
def test_nothing_else_changes_a_bit_of_the_log_probability(dtype, gradient):
    """A cheap scoring forward gives exactly what the loss's forward gives; entropies do not change either."""
    head = random_head(50, 3000, dtype, bias=True)
    settings = {"temperature": 0.7, "logit_scale": 1.3, "softcap": 20.0, "tile_bytes": 13 * 3008 * dtype.itemsize}
    with torch.no_grad():
        scored = fused_log_probs(**head, **settings)
    head["hidden"].requires_grad_(gradient)
    measured = fused_log_probs(**head, **settings, top_p=0.8, sets=SETS, return_top_two=True)
    assert measured[0].requires_grad == gradient
    assert torch.equal(measured[0], scored[0])
    assert torch.equal(measured[1], scored[1])
    assert torch.equal(measured[2], fused_log_probs(**head, **settings, top_p=0.8)[2])


def test_sets_that_nobody_uses_cost_nothing(monkeypatch):
    seen = []
    unfold = fused_torch.unfold_tile

    def record(*args):
        seen.append(tuple(g is not None for g in args[-1]))
        unfold(*args)

    monkeypatch.setattr(fused_torch, "unfold_tile", record)
    head = random_head(12, 100)
    head["hidden"].requires_grad_()
    outputs = torch.stack(fused_log_probs(**head, top_p=0.8, sets=(MinP(0.1), DropShare(0.3))))
    (outputs[0] + outputs[5]).sum().backward()
    assert seen == [(True, False, False, False, False, True, False)]


def test_the_recomputed_product_may_round_differently(monkeypatch):
    head = head_of(torch.randn(8, 3000, generator=torch.Generator().manual_seed(8)) * 0.5)
    _, exact = run_sets(fused_log_probs, head, (MinP(0.1), DropShare(0.3)))
    unfold = fused_torch.unfold_tile

    def jittered(tile, *args):
        signs = torch.randint(0, 2, tile.shape, generator=torch.Generator().manual_seed(9)) * 2 - 1
        tile.mul_(1 + signs * 2.0**-23)
        unfold(tile, *args)

    monkeypatch.setattr(fused, "tile_functions", lambda *_: (fused_torch.fold_tile, jittered))
    _, moved = run_sets(fused_log_probs, head, (MinP(0.1), DropShare(0.3)))
    for name in ("0 entropy by weight", "1 entropy by weight"):
        assert torch.equal(exact[name] != 0, moved[name] != 0)


def test_both_ways_to_a_min_p_set_are_taken(monkeypatch):
    """A peaked row ends within its largest logits; a flat one is read whole."""
    read = []
    search = fused_sets._search_min_p
    monkeypatch.setattr(fused_sets, "_search_min_p", lambda *args: (read.append(args[1].item()), search(*args))[1])
    logits = torch.stack([torch.linspace(0, 600, 3000), torch.linspace(0, 1e-3, 3000)])
    found = fused_log_probs(**head_of(logits), sets=(MinP(0.5),))
    assert read == [logits[1].amax().item()]
    torch.testing.assert_close(found[3][1].item(), 0.0)


@pytest.mark.parametrize("make", [lambda: MinP(0.0), lambda: MinP(1.1), lambda: MinP(math.nan)])
def test_a_ratio_out_of_range_is_refused(make):
    with pytest.raises(ValueError, match=r"kappa is .* \(0, 1\]"):
        make()


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"share is .* \[0, 1\)"):
        DropShare(share)


def test_an_accelerator_never_waits_for_the_host():
    """On tensors without contents, whatever looks at a value raises."""
    z = torch.empty(4, 128, device="meta")
    rows = fused.Rows.empty(4, z.device, z.dtype, sets=2)
    settings = fused.Settings(1.0, 1.0, "inclusive", 1.0, 9.0, z.dtype, (MinP(0.1), DropShare(0.3)), True)
    find_sets(z, z.exp(), None, z.amax(-1), z.sum(-1), 100, settings, rows, row_by_row=False)
    assert set_gradient(z, rows, (z[:, 0],) * 4, settings).shape == z.shape
    with pytest.raises(RuntimeError, match="meta"):
        bool(z.any())


def test_a_sum_of_all_outputs():
    """The sets' gradients beside those of log-probability, entropy and nucleus entropy, in one backward."""
    head = random_head(9, 200, torch.float64)
    gradients = []
    for function in (fused_log_probs, dense_log_probs):
        hidden = head["hidden"].clone().requires_grad_()
        outputs = function(hidden, head["weight"], None, head["targets"], top_p=0.8, sets=(MinP(0.1), DropShare(0.3)))
        sum(weight * x.sum() for weight, x in enumerate(outputs, 1)).backward()
        gradients.append(hidden.grad)
    assert relative(*gradients) < 1e-11
