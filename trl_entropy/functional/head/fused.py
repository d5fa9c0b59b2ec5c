"""The fused head: log-probabilities, entropy and nucleus entropy from hidden states, without the logits."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from ..nucleus import Nucleus
from . import fused_torch
from .dense import check_settings, check_tensors, held_in_full, product_dtype
from .rows import Gather, Rows, Settings
from .sets import WordSet


# Bytes of the one tile of products that is alive at a time. Every tile reads and writes the weight's gradient once, so
# that few large tiles are faster, on a GPU above all.
TILE_BYTES = {"cpu": 2**28, "cuda": 2**30}
# Rows of the weight that are converted at a time, where its dtype is not the product's
CONVERTED = 2**15


def fused_log_probs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    *,
    nucleus: Nucleus = "inclusive",
    logit_scale: float = 1.0,
    softcap: float | None = None,
    gather: Gather = held_in_full,
    tile_bytes: int | None = None,
    return_nucleus_size: bool = False,
    sets: tuple[WordSet, ...] = (),
    return_top_two: bool = False,
) -> tuple[torch.Tensor, ...]:
    """Token log-probability, entropy and nucleus entropy of a language-model head, without an (N, V) tensor.

    Formulas, the arguments that are not below, results, degenerate rows and errors are those of its plain twin,
    [`dense_log_probs`][trl_entropy.functional.head.dense.dense_log_probs]; the nucleus is the set that sorting gives.
    Tiles of whole rows are projected one after the other and reduced to a few scalars a token (SIREN's nucleus,
    arXiv 2509.25133, top-p mask, is found in them without sorting a row). The backward projects them again, in the
    same shape, and adds up the weight's gradient in float32. What no output's gradient asks for is not computed, nor
    a gradient for a frozen weight.

    On a GPU a target outside `[0, V)` gives a NaN log-probability instead of an error.

    Args:
        gather: context-manager factory, `gather(weight, bias)`, entered around every access to the weight, in the
            forward and in the backward. For weights that are sharded between their uses (ZeRO-3).
        tile_bytes: bytes of the tile of products; by default 256 MiB, on CUDA 1 GiB. It holds at least one row.

    Returns:
        `(log_probs, entropy, nucleus_entropy)` and, if asked for, `nucleus_size`, two tensors for each of `sets`, and
        `top_two`, as the twin does. The log-probabilities have the same bits whatever else is asked for. The results
        can be differentiated once; a second derivative is refused.

    Raises:
        ValueError: as the twin, and for a `tile_bytes` that does not hold one row.
        TypeError: as the twin.

    Example:
        >>> hidden = torch.eye(3)[:1].requires_grad_()
        >>> weight = torch.tensor([[0.5, 0.0, 0.0], [0.25, 0.0, 0.0], [0.25, 0.0, 0.0]]).log().clamp(min=-9)
        >>> _, entropy, nucleus = fused_log_probs(hidden, weight, None, torch.tensor([0]), top_p=0.7)
        >>> [round(x.item(), 4) for x in (entropy, nucleus)]  # nucleus of two: 2/3 and 1/3
        [1.0397, 0.6365]
    """
    check_settings(temperature, top_p, nucleus, logit_scale, softcap)
    product = product_dtype(hidden)
    settings = Settings(temperature, top_p, nucleus, logit_scale, softcap, product, tuple(sets), return_top_two)
    with gather(weight, bias):  # around `apply`, which notes the shape that the weight's gradient must have
        check_tensors(hidden, weight, bias, targets)
        outputs = _FusedHead.apply(hidden, weight, bias, targets, settings, gather, tile_bytes)
    log_probs, entropy, nucleus_entropy, size, *measured, top_two = outputs
    sizes = (size,) if return_nucleus_size else ()
    return (log_probs, entropy, nucleus_entropy, *sizes, *measured, *((top_two,) if return_top_two else ()))


def tile_functions(device: torch.device, product: torch.dtype) -> tuple[Callable[..., None], Callable[..., None]]:
    """The `fold_tile` and `unfold_tile` for this device: Triton kernels on CUDA, torch elsewhere.

    float64 products, and machines without Triton, take the torch tiles everywhere. The results are the same, to
    rounding.
    """
    if device.type == "cuda" and product != torch.float64 and find_spec("triton") is not None:
        from . import fused_triton  # here, because it needs Triton

        return fused_triton.fold_tile, fused_triton.unfold_tile
    return fused_torch.fold_tile, fused_torch.unfold_tile


class _FusedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        settings: Settings,
        gather: Gather,
        tile_bytes: int | None,
    ) -> tuple[torch.Tensor, ...]:
        ctx.set_materialize_grads(False)
        rows = Rows.empty(len(hidden), hidden.device, settings.result, len(settings.sets))
        tiles = _Tiles(hidden, weight, bias, settings, tile_bytes)
        for here in tiles.slices():
            tiles.fold(tiles.project(here), tiles.vocab, tiles.bias, targets[here], settings, rows[here])
        if settings.top_p == 1:
            rows.nucleus.entropy.copy_(rows.entropy)
        ctx.save_for_backward(hidden, weight, bias, targets, *rows.tensors())
        ctx.settings, ctx.gather, ctx.tile_bytes = settings, gather, tile_bytes
        ctx.mark_non_differentiable(rows.nucleus.size, rows.top_two)
        measured = (tensor for one in rows.sets for tensor in (one.log_mass, one.entropy))
        return rows.log_prob, rows.entropy, rows.nucleus.entropy, rows.nucleus.size, *measured, rows.top_two

    @staticmethod
    def backward(
        ctx: Any,
        on_target: torch.Tensor | None,
        on_entropy: torch.Tensor | None,
        on_nucleus: torch.Tensor | None,
        _: None,
        *on_sets_and_top_two: torch.Tensor | None,
    ) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("The fused head can be differentiated once; for create_graph=True use dense_log_probs.")
        hidden, weight, bias, targets, *saved = ctx.saved_tensors
        rows, settings = Rows.of(saved), ctx.settings
        if settings.top_p == 1 and on_nucleus is not None:
            on_entropy, on_nucleus = on_nucleus if on_entropy is None else on_entropy + on_nucleus, None
        asked = (on_target, on_entropy, on_nucleus, *on_sets_and_top_two[:-1])
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        if all(gradient is None for gradient in asked):
            return (None,) * 7
        asked = _without_zeros(asked)
        with ctx.gather(weight, bias):
            tiles = _Tiles(hidden, weight, bias, settings, ctx.tile_bytes)
            # the first product into a gradient overwrites it; without tokens there is none
            new = torch.empty_like if len(hidden) else torch.zeros_like
            grad_hidden = new(hidden, dtype=settings.result) if need_hidden else None
            grad_weight = new(weight, dtype=settings.result) if need_weight else None
            grad_bias = torch.zeros_like(bias, dtype=settings.result) if need_bias else None
            for here in tiles.slices():
                tile = tiles.project(here)
                gradients = tuple(None if g is None else g[here].to(settings.result).contiguous() for g in asked)
                tiles.unfold(tile, tiles.vocab, tiles.bias, targets[here], settings, rows[here], gradients)
                tiles.accumulate(here, grad_hidden, grad_weight, grad_bias)
        return (
            None if grad_hidden is None else grad_hidden.to(hidden.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *(None,) * 4,
        )


class _Tiles:
    """One buffer of `(n, V)` products, and the matrix products into and out of it. Forward and backward cut alike."""

    def __init__(
        self,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        settings: Settings,
        tile_bytes: int | None,
    ) -> None:
        dtype = settings.product
        self.hidden, self.weight, self.dtype = hidden, weight, dtype
        self.vocab = len(weight)
        self.bias = None if bias is None else bias.to(dtype)
        self.fold, self.unfold = tile_functions(hidden.device, dtype)
        columns = fused_torch.padded(self.vocab)
        if tile_bytes is None:
            tile_bytes = max(TILE_BYTES.get(hidden.device.type, TILE_BYTES["cpu"]), columns * dtype.itemsize)
        most = tile_bytes // (columns * dtype.itemsize)
        if most < 1:
            raise ValueError(
                f"tile_bytes is {tile_bytes}; one row of {self.vocab} logits in {dtype} takes "
                f"{columns * dtype.itemsize}. Give at least that, better 100 times as much."
            )
        count = max(1, -(-len(hidden) // most))
        self.rows = -(-len(hidden) // count)  # tiles of equal size
        self.buffer = hidden.new_empty(self.rows, columns, dtype=dtype)
        # one stretch of the vocabulary, or several where the weight has to be converted
        self.stretch = self.vocab if weight.dtype == dtype else CONVERTED

    def slices(self) -> list[slice]:
        n = len(self.hidden)
        return [slice(start, min(start + self.rows, n)) for start in range(0, n, self.rows)] if n else []

    def project(self, here: slice) -> torch.Tensor:
        tile, hidden = self.buffer[: here.stop - here.start], self.hidden[here].to(self.dtype)
        for words in self._stretches(self.stretch):
            torch.mm(hidden, self.weight[words].to(self.dtype).t(), out=tile[:, words])
        return tile

    def accumulate(
        self,
        here: slice,
        grad_hidden: torch.Tensor | None,
        grad_weight: torch.Tensor | None,
        grad_bias: torch.Tensor | None,
    ) -> None:
        tile, hidden = self.buffer[: here.stop - here.start], self.hidden[here].to(self.dtype)
        exact = self.dtype in (torch.float32, torch.float64)
        for words in self._stretches(self.stretch if exact else CONVERTED):
            if grad_hidden is not None:
                _add_product(grad_hidden[here], tile[:, words], self.weight[words].to(self.dtype), words.start == 0)
            if grad_weight is not None:
                _add_product(grad_weight[words], tile[:, words].t(), hidden, here.start == 0)
            if grad_bias is not None:
                grad_bias[words] += tile[:, words].sum(0, dtype=grad_bias.dtype)

    def _stretches(self, width: int) -> list[slice]:
        return [slice(start, min(start + width, self.vocab)) for start in range(0, self.vocab, width)]


def _without_zeros(gradients: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor | None, ...]:
    """None for gradients that are all zero, as stacking or masking an unused output leaves them.

    Only on a CPU: on a GPU the host would have to wait for the answer. If nothing else is left, one stays.
    """
    wanted = [g for g in gradients if g is not None and (g.device.type != "cpu" or bool(g.any()))]
    wanted = wanted or [next(g for g in gradients if g is not None)]
    return tuple(g if any(g is w for w in wanted) else None for g in gradients)


def _add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor, first: bool) -> None:
    """`total += a @ b`, or `total = a @ b` the first time, never rounded to the dtype of `a` and `b` on the way.

    The sum of many products, each rounded to bfloat16, would drift.
    """
    beta = 0 if first else 1
    if a.dtype == total.dtype:
        total.addmm_(a, b, beta=beta)
    elif total.device.type == "cuda":
        torch.addmm(total, a, b, beta=beta, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(a.to(total.dtype), b.to(total.dtype), beta=beta)
