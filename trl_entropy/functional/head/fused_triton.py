"""The fused head's tiles as Triton kernels: one program a row folds it, and another one finds its nucleus.

Further sets of words have no kernel: a second pass in torch over the tile, on the device, measures them and adds their
gradient. It never waits for the host.

`TRITON_INTERPRET=1`, set before this module is imported, runs them on CPU tensors.
"""

# A launched kernel takes plain values where its signature says constexpr, and options that it does not name
# pyright: reportArgumentType=false, reportCallIssue=false

import math

import torch
import triton

from .cutoff import block_sum
from .fused_sets import find_sets, set_gradient
from .fused_torch import few_rows, logits
from .rows import Rows, Settings
from .triton_kernels import find_nucleus_kernel, fold_kernel, unfold_kernel


BLOCK = 1024  # entries of a row that a program holds at a time
WAYS = 8  # thresholds per reading of a row: 3 bits of the cut-off each time


def fold_tile(
    tile: torch.Tensor, vocab: int, bias: torch.Tensor | None, targets: torch.Tensor, settings: Settings, out: Rows
) -> None:
    """Reduce a tile of products to the scalars of its rows; arguments as in `fused_torch.fold_tile`."""
    if bias is not None:
        tile[:, :vocab] += bias
    shared = _shared(tile, vocab, settings)
    fold_kernel[(len(tile),)](
        tile,
        tile.stride(0),
        targets,
        out.log_prob,
        out.entropy,
        out.highest,
        out.mass,
        out.mean,
        out.nucleus.size,
        vocab,
        **shared,
    )
    if settings.top_p < 1:
        # what lies further below the maximum holds less than 1 - top_p in all
        reach = math.log(vocab) - math.log1p(-settings.top_p) + 1
        find_nucleus_kernel[(len(tile),)](
            tile,
            tile.stride(0),
            out.highest,
            out.nucleus.entropy,
            out.nucleus.mass,
            out.nucleus.mean,
            out.nucleus.cut,
            out.nucleus.last,
            out.nucleus.size,
            vocab,
            *_halves(settings.top_p),
            reach,
            EXCLUSIVE=settings.nucleus == "exclusive",
            WAYS=WAYS,
            num_warps=8,  # with 4 the accumulators take every register of a thread
            **shared,
        )
    if settings.sets or settings.top_two:
        for rows in few_rows(tile, settings):
            z, highest = logits(tile[rows], vocab, None, settings), out.highest[rows]
            e = (z - highest.unsqueeze(1)).exp_()
            find_sets(z, e, None, highest, block_sum(e), vocab, settings, out[rows], row_by_row=False)


def unfold_tile(
    tile: torch.Tensor,
    vocab: int,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    settings: Settings,
    known: Rows,
    gradients: tuple[torch.Tensor | None, ...],
) -> None:
    """Overwrite a tile of products with their gradient; formula and arguments as in `fused_torch.unfold_tile`."""
    if bias is not None:
        tile[:, :vocab] += bias
    on_target, on_entropy, on_nucleus, *on_sets = gradients
    if any(gradient is not None for gradient in on_sets):
        for rows in few_rows(tile, settings):
            z = logits(tile[rows].clone(), vocab, None, settings)
            here, known_here = tuple(None if g is None else g[rows] for g in gradients), known[rows]
            unfold_tile(tile[rows], vocab, None, targets[rows], settings, known_here, here[:3])
            tile[rows] += set_gradient(z, known_here, here[3:], settings)
        return
    unused = known.mass
    unfold_kernel[(len(tile), triton.cdiv(vocab, BLOCK))](
        tile,
        tile.stride(0),
        targets,
        known.highest,
        known.mass,
        known.mean,
        known.nucleus.mass,
        known.nucleus.mean,
        known.nucleus.cut,
        known.nucleus.last,
        unused if on_target is None else on_target,
        unused if on_entropy is None else on_entropy,
        unused if on_nucleus is None else on_nucleus,
        vocab,
        ON_TARGET=on_target is not None,
        ON_ENTROPY=on_entropy is not None,
        ON_NUCLEUS=on_nucleus is not None,
        **_shared(tile, vocab, settings),
    )


def _halves(number: float) -> tuple[float, float]:
    # a kernel receives floats as float32: two of them carry top_p to 48 bits
    rounded = torch.tensor(number, dtype=torch.float32).item()
    return rounded, number - rounded


def _shared(tile: torch.Tensor, vocab: int, settings: Settings) -> dict[str, float | int | bool]:
    return {
        "logit_scale": float(settings.logit_scale),
        "softcap": float(settings.softcap or 1.0),
        "inv_t": 1.0 / settings.temperature,
        "CAPPED": settings.softcap is not None,
        "BLOCK": BLOCK,
    }
