"""What the fused head does not do: build the logits, compute what nobody asked for, touch a sharded weight unasked."""

from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.functional.heads import random_head, run
from trl_entropy.functional import fused_log_probs


class Watch(TorchDispatchMode):
    """Records the largest result and the matrix products of what runs inside."""

    def __init__(self):
        super().__init__()
        self.largest = 0
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def test_no_tensor_of_the_logits_size():
    n, vocab, rows = 200, 3000, 10
    head = random_head(n, vocab)
    with Watch() as watch:
        run(fused_log_probs, head, 1.0, 0.8, tile_bytes=rows * 3008 * 4)
    assert watch.largest <= max(rows * 3008, vocab * 16)
    assert watch.largest < n * vocab / 10


@pytest.mark.parametrize(
    ("wanted", "products"),
    [((), 1), (("hidden",), 3), (("weight",), 3), (("hidden", "weight"), 4), (("bias",), 2)],
    ids=str,
)
def test_only_the_gradients_asked_for_are_computed(wanted, products):
    """One product forward; one more to recompute, one for the hidden states, one for the weight."""
    head = random_head(12, 100, bias=True)
    for name in wanted:
        head[name].requires_grad_()
    with Watch() as watch:
        outputs = fused_log_probs(*head.values(), top_p=0.8)
        if wanted:
            sum(x.sum() for x in outputs).backward()
    assert watch.products == products
    assert {name for name in ("hidden", "weight", "bias") if head[name].grad is not None} == set(wanted)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_outputs_that_nobody_uses_cost_nothing(which, monkeypatch):
    """The backward is handed None for them, not zeros, and gives the same as a zero would."""
    from trl_entropy.functional.head import fused_torch

    seen = []
    unfold = fused_torch.unfold_tile

    def record(*args):
        seen.append(tuple(g is not None for g in args[-1]))
        unfold(*args)

    head = random_head(12, 100)
    _, expected = run(fused_log_probs, head, 1.0, 0.8, weights=tuple(float(i == which) for i in range(3)))
    monkeypatch.setattr(fused_torch, "unfold_tile", record)
    hidden = head["hidden"].requires_grad_()
    output = fused_log_probs(*head.values(), top_p=0.8)[which]
    (torch.linspace(0.5, 1.5, 12) * output).sum().backward()
    assert seen == [tuple(i == which for i in range(3))]
    torch.testing.assert_close(hidden.grad, expected["hidden"], rtol=1e-5, atol=1e-7)


def test_a_weight_that_is_empty_between_its_uses():
    """As under ZeRO-3: outside `gather` the weight has no elements, in the forward and in the backward."""
    head = random_head(12, 100, bias=True)
    expected, expected_grads = run(fused_log_probs, head, 1.0, 0.8)
    weight, full = head["weight"].clone().requires_grad_(), head["weight"].clone()
    weight.data = torch.empty(0)
    entered = []

    @contextmanager
    def gather(w, b):
        entered.append((w is weight, b is head["bias"]))
        w.data = full
        yield
        w.data = torch.empty(0)

    hidden = head["hidden"].clone().requires_grad_()
    bias = head["bias"]
    outputs = fused_log_probs(hidden, weight, bias, head["targets"], top_p=0.8, gather=gather)
    per_token = torch.linspace(0.5, 1.5, 12)
    sum(w * (per_token * x).sum() for w, x in zip((1.0, 0.7, -1.3), outputs, strict=True)).backward(inputs=[hidden])
    assert torch.equal(outputs[2], expected[2])
    torch.testing.assert_close(hidden.grad, expected_grads["hidden"])
    assert len(entered) == 2
    assert entered[0] == (True, True)
