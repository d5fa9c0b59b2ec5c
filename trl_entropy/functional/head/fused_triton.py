"""The fused head's tiles as Triton kernels: one program a row folds it, and another one finds its nucleus.

Further sets of words have no kernel: a second pass in torch over the tile, on the device, measures them and adds their
gradient. It never waits for the host.

`TRITON_INTERPRET=1`, set before this module is imported, runs them on CPU tensors.
"""

# A launched kernel takes plain values where its signature says constexpr, and options that it does not name
# pyright: reportArgumentType=false, reportCallIssue=false

import math
from dataclasses import dataclass

import torch
import triton

from .cutoff import block_sum
from .fused_sets import find_sets, set_gradient
from .fused_torch import few_rows, logits
from .rows import Rows, Settings
from .triton_kernels import find_nucleus_kernel, fold_kernel, unfold_kernel


@dataclass(frozen=True)
class Cut:
    """How one kernel is launched: entries of a row that a program holds at a time, warps, thresholds a reading."""

    block: int
    warps: int
    ways: int = 8  # read by the nucleus alone; log2 of it is the bits of the cut-off that a reading finds


@dataclass(frozen=True)
class Launch:
    """The launch of each kernel on one kind of card.

    Fixed by the kind, not timed at run time: processes that time for themselves choose differently, and another block
    rounds differently, while the same weights must give the same log-probabilities on all of them.
    """

    fold: Cut = Cut(1024, 4)
    nucleus: Cut = Cut(1024, 8)  # with 4 warps the accumulators take every register of a thread
    unfold: Cut = Cut(512, 4)  # with 1024 entries a thread of sm_80 runs out of registers


SLOW_FLOAT64 = Launch(nucleus=Cut(512, 4, 4))  # consumer cards add float64 at 1/64 of float32's rate
# By compute capability; a card between two takes the lower one's, and one below all of them the first's
LAUNCHES = {
    (8, 0): Launch(),
    (8, 6): SLOW_FLOAT64,
    (8, 9): SLOW_FLOAT64,
    (9, 0): Launch(),
    (12, 0): SLOW_FLOAT64,
}


def launch_for(capability: tuple[int, int]) -> Launch:
    """The settings of the newest listed kind that is not above `capability`."""
    return LAUNCHES[max((kind for kind in LAUNCHES if kind <= capability), default=min(LAUNCHES))]


def fold_tile(
    tile: torch.Tensor, vocab: int, bias: torch.Tensor | None, targets: torch.Tensor, settings: Settings, out: Rows
) -> None:
    """Reduce a tile of products to the scalars of its rows; arguments as in `fused_torch.fold_tile`."""
    if bias is not None:
        tile[:, :vocab] += bias
    shared, launch = _shared(settings), _launch(tile)
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
        BLOCK=launch.fold.block,
        num_warps=launch.fold.warps,
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
            WAYS=launch.nucleus.ways,
            BLOCK=launch.nucleus.block,
            num_warps=launch.nucleus.warps,
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
    unused, cut = known.mass, _launch(tile).unfold
    unfold_kernel[(len(tile), triton.cdiv(vocab, cut.block))](
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
        BLOCK=cut.block,
        num_warps=cut.warps,
        **_shared(settings),
    )


def _halves(number: float) -> tuple[float, float]:
    # a kernel receives floats as float32: two of them carry top_p to 48 bits
    rounded = torch.tensor(number, dtype=torch.float32).item()
    return rounded, number - rounded


def _launch(tile: torch.Tensor) -> Launch:
    # the interpreter has tensors on a CPU
    return launch_for(torch.cuda.get_device_capability(tile.device) if tile.is_cuda else (0, 0))


def _shared(settings: Settings) -> dict[str, float | int | bool]:
    return {
        "logit_scale": float(settings.logit_scale),
        "softcap": float(settings.softcap or 1.0),
        "inv_t": 1.0 / settings.temperature,
        "CAPPED": settings.softcap is not None,
    }
