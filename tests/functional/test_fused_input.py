"""Bad input to the fused head and its twin: an error that says what to do, or a NaN; never a wrong number."""

import math

import pytest
import torch

from tests.functional.heads import random_head, run
from trl_entropy.functional import fused_log_probs
from trl_entropy.functional.head import fused_torch
from trl_entropy.functional.head.dense import dense_log_probs
from trl_entropy.functional.head.rows import Rows, Settings


BOTH = pytest.mark.parametrize("function", [fused_log_probs, dense_log_probs])


@BOTH
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
        ({"nucleus": "half"}, "'inclusive', 'exclusive'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"softcap": 0.0}, "softcap is 0.0"),
        ({"logit_scale": math.inf}, "logit_scale is inf"),
        ({"hidden": torch.zeros(2, 2, 16)}, "Flatten"),
        ({"hidden": torch.zeros(4, 15)}, r"\(4, 15\) and weight \(30, 16\)"),
        ({"weight": torch.zeros(0, 16)}, "pass `gather`"),
        ({"bias": torch.zeros(29)}, r"must be \(30,\)"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, r"targets is \(3,\)"),
        ({"targets": torch.tensor([0, 1, 2, 30])}, r"0 to 30; the vocabulary is \[0, 30\)"),
        ({"targets": torch.tensor([-100, 1, 2, 3])}, "Replace ignored labels"),
    ],
    ids=str,
)
def test_refused(function, changes, message):
    with pytest.raises(ValueError, match=message):
        function(**{**random_head(4, 30), **changes})


@BOTH
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": torch.zeros(4)}, "long"),
        ({"targets": torch.zeros(4, dtype=torch.int32)}, "torch.int64"),
        ({"hidden": torch.zeros(4, 16, dtype=torch.int64)}, "floating point"),
    ],
    ids=str,
)
def test_wrong_dtypes_are_refused(function, changes, message):
    with pytest.raises(TypeError, match=message):
        function(**{**random_head(4, 30), **changes})


def test_a_tile_too_small_for_one_row_is_refused():
    with pytest.raises(ValueError, match=r"takes 256\. Give at least that"):
        fused_log_probs(**random_head(4, 30), tile_bytes=255)
    fused_log_probs(**random_head(4, 30), tile_bytes=256)


@BOTH
@pytest.mark.parametrize("top_p", [0.8, 1.0])
@pytest.mark.parametrize("vocab", [30, 3000])
@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [math.inf, -math.inf], [math.nan, math.inf]], ids=str)
def test_nan_and_inf_logits_give_nan_everywhere(function, top_p, vocab, bad):
    head = random_head(1, vocab, bias=True)
    head["bias"][torch.arange(len(bad)) * 5 + 3] = torch.tensor(bad)
    outputs, grads = run(function, head, 1.0, top_p)
    assert all(x.isnan().all() for x in outputs[:3])
    assert outputs[3].tolist() == [0]
    assert grads["hidden"].isnan().all()


@BOTH
def test_a_broken_row_leaves_the_others_alone(function):
    head = random_head(6, 200)
    clean, _ = run(function, head, 1.0, 0.8)
    head["hidden"][2] = math.nan
    outputs, grads = run(function, head, 1.0, 0.8)
    others = torch.tensor([0, 1, 3, 4, 5])
    for a, b in zip(outputs, clean, strict=True):
        assert torch.equal(a[others], b[others])
    assert outputs[2][2].isnan()
    assert grads["hidden"][others].isfinite().all()


@BOTH
@pytest.mark.parametrize("top_p", [0.8, 0.999, 1.0])
@pytest.mark.parametrize("vocab", [30, 3000])
def test_minus_infinity_is_probability_zero(function, top_p, vocab):
    """A head whose bias forbids words equals the head without these words."""
    head = random_head(5, vocab, torch.float64, bias=True)
    allowed = torch.arange(vocab) % 3 > 0
    head["targets"] = allowed.nonzero().squeeze(1)[:5]
    smaller = {**head, "weight": head["weight"][allowed], "bias": head["bias"][allowed], "targets": torch.arange(5)}
    head["bias"][~allowed] = -math.inf
    outputs, grads = run(function, head, 1.0, top_p)
    expected, expected_grads = run(function, smaller, 1.0, top_p)
    for a, b in zip(outputs, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(grads["hidden"], expected_grads["hidden"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(grads["bias"][allowed], expected_grads["bias"], rtol=1e-9, atol=1e-12)
    assert not grads["bias"][~allowed].any()


@BOTH
def test_nothing_possible_is_nan(function):
    head = random_head(1, 30, bias=True)
    head["bias"][:] = -math.inf
    outputs, _ = run(function, head, 1.0, 0.8)
    assert all(x.isnan().all() for x in outputs[:3])


@BOTH
@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_a_large_common_offset_changes_nothing(function, offset):
    """Entropies of logits around +-10,000, where summing p z would cancel."""
    head = random_head(8, 500, bias=False)
    plain, _ = run(function, head, 1.0, 0.8)
    moved, _ = run(function, {**head, "bias": torch.full((500,), offset)}, 1.0, 0.8)
    for a, b in zip(moved[:3], plain[:3], strict=True):
        # what is left is the rounding of the logits themselves: 1e4 * 2^-24
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3)


def test_off_the_cpu_a_target_outside_the_vocabulary_gives_nan():
    """There, looking at the targets first would make the host wait for the device."""
    logits = torch.randn(3, 64)
    out = Rows.empty(3, logits.device, torch.float32)
    settings = Settings(1.0, 0.8, "inclusive", 1.0, None, torch.float32)
    fused_torch.fold_tile(logits, 50, None, torch.tensor([-100, 4, 50]), settings, out)
    assert out.log_prob.isnan().tolist() == [True, False, True]
    assert out.entropy.isfinite().all()
