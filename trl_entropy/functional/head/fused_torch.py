"""The fused head's tiles in torch, for any device: a few rows at a time, on a CPU so few that they stay in cache."""

import torch

from ..precision import wide
from .cutoff import BLOCK, FLOOR, block_sum, largest, search, settle, sort
from .fused_sets import find_sets, needs_top, set_factor
from .rows import Rows, Settings


BUFFER_BYTES = 5 * 2**19  # of one working buffer on a CPU, to stay in its cache
ACCELERATOR_BUFFER_BYTES = 2**26  # elsewhere, where few large operations are faster than many small ones


def padded(vocab: int) -> int:
    """Columns of a tile: the vocabulary, rounded up to whole blocks."""
    return -(-vocab // BLOCK) * BLOCK


def many_small_steps_are_cheap(device: torch.device) -> bool:
    """On a CPU; an accelerator without the Triton kernels waits for the host at each of them."""
    return device.type == "cpu"


def fold_tile(
    tile: torch.Tensor, vocab: int, bias: torch.Tensor | None, targets: torch.Tensor, settings: Settings, out: Rows
) -> None:
    """Reduce a tile of products to the scalars of its rows. The tile's contents are lost.

    Args:
        tile: `(n, padded(V))`, products in the first V columns.
        vocab: V.
        bias: `(V,)` in the tile's dtype, or None.
        targets: `(n,)` int64.
        settings: the head's numbers.
        out: n rows to fill.
    """
    x_buffer, e_buffer = _buffers(tile, settings, 2)
    for rows in few_rows(tile, settings):
        z = logits(tile[rows], vocab, bias, settings)
        x, e = x_buffer[: len(z)], e_buffer[: len(z)]
        here = out[rows]
        in_range = (targets[rows] >= 0) & (targets[rows] < vocab)
        at_target = z.gather(1, targets[rows].clamp(0, vocab - 1).unsqueeze(1)).squeeze(1)
        at_target.masked_fill_(~in_range, torch.nan)

        block_max = z.view(len(z), -1, BLOCK).amax(-1)
        highest = block_max.amax(-1)
        torch.sub(z, highest.unsqueeze(1), out=x)
        torch.exp(x, out=e)
        total = block_sum(e)
        x[:, vocab:] = 0
        x_mass = block_sum(x.mul_(e))
        impossible = bool(x_mass.isnan().any())
        if impossible:
            # a logit of -inf has probability 0 and adds 0, but 0 * -inf is NaN; NaN and +inf pass the clamp as NaN
            torch.sub(z, highest.unsqueeze(1), out=x)
            x_mass = block_sum(x.clamp_(min=FLOOR).mul_(e))
        here.log_prob.copy_(wide(at_target) - highest - total.log())  # in float64, rounded once
        here.entropy.copy_((total.log() - x_mass / total).clamp_(min=0))
        here.highest.copy_(highest)
        here.mass.copy_(total)
        here.mean.copy_(x_mass / total)
        more = settings.sets or settings.top_two
        top = largest(z, block_max) if settings.top_p < 1 or needs_top(settings) else None
        if top is None or settings.top_p == 1:
            here.nucleus.size.fill_(vocab)
            if impossible:
                here.nucleus.size.copy_((z[:, :vocab] > -torch.inf).sum(-1).masked_fill(total.isnan(), 0))
        else:
            settled = settle(*top, highest, total, vocab, settings, here.nucleus)
            left = (~settled & ~total.isnan()).nonzero().squeeze(1)
            if many_small_steps_are_cheap(z.device):
                for row in left.tolist():
                    search(z[row, :vocab], highest[row], settings, here.nucleus, row)
            elif len(left):
                sort(z[left, :vocab], highest[left], settings, here.nucleus, left)
        if more:
            find_sets(z, e, top, highest, total, vocab, settings, here, many_small_steps_are_cheap(z.device))


def unfold_tile(
    tile: torch.Tensor,
    vocab: int,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    settings: Settings,
    known: Rows,
    gradients: tuple[torch.Tensor | None, ...],
) -> None:
    """Overwrite a tile of products with the gradient of the loss with respect to them.

    With `y_j = z_j - max z`, its means `m` under `p` and `m_S` under the nucleus' `q`, and `g` the incoming gradients,
    the gradient by `z_j` is

        g_logp (1[j = target] - p_j) - g_H p_j (y_j - m) - 1[j in S] g_N q_j (y_j - m_S)

    where `y_j - m = log p_j + H`, without the cancellation of the latter; and what further sets add.

    Args:
        tile, vocab, bias, targets, settings: as in [`fold_tile`].
        known: what `fold_tile` found.
        gradients: of log-probability, entropy and nucleus entropy, then of each set's log mass and entropy, `(n,)`
            each, or None.
    """
    inside_buffer, e_buffer = _buffers(tile, settings, 2)
    on_target, on_entropy, on_nucleus, *on_sets = gradients
    slope = settings.slope
    zero = torch.zeros_like(known.mass)
    # e_j (a + b y_j) with e = exp(y), and e_j (c + d y_j) more inside the nucleus
    a, b = zero, None
    if on_target is not None:
        a = -slope * on_target / known.mass
    if on_entropy is not None:
        b = -slope * on_entropy / known.mass
        a = a - b * known.mean
    if on_nucleus is not None:
        d = -slope * on_nucleus / known.nucleus.mass
        c = -d * known.nucleus.mean

    for rows in few_rows(tile, settings):
        z = logits(tile[rows], vocab, bias, settings)
        e, factor = e_buffer[: len(z)], inside_buffer[: len(z)]
        capped = 1 - (z * (settings.temperature / settings.softcap)).square_() if settings.softcap else None
        of_sets = set_factor(z, known[rows], tuple(None if g is None else g[rows] for g in on_sets), slope)
        if on_nucleus is not None:
            cut, last = known.nucleus.cut[rows, None], known.nucleus.last[rows, None]
            outside = z < cut
            if bool((last < vocab).any()):
                column = torch.arange(z.shape[1], device=z.device)
                outside |= (z == cut) & (column > last)
        y = z.sub_(known.highest[rows, None])
        torch.exp(y, out=e)
        if on_entropy is not None or on_nucleus is not None:
            y.clamp_(min=FLOOR)  # where e is 0 and y is -inf, the gradient is 0
        if on_nucleus is not None:
            torch.mul(y, d[rows, None], out=factor).add_(c[rows, None]).masked_fill_(outside, 0)
            if b is not None:
                factor.addcmul_(y, b[rows, None])
            factor.add_(a[rows, None])
        elif b is not None:
            factor = y.mul_(b[rows, None]).add_(a[rows, None])
        else:
            factor = a[rows, None]
        e.mul_(factor if of_sets is None else of_sets.add_(factor))
        if on_target is not None:
            e.scatter_add_(1, targets[rows, None], slope * on_target[rows, None])
        if capped is not None:
            e.mul_(capped)
        tile[rows] = e


def logits(product: torch.Tensor, vocab: int, bias: torch.Tensor | None, settings: Settings) -> torch.Tensor:
    """Products to logits, in the result's dtype (in place where that is the tile's), the padding set to -inf."""
    if bias is not None:
        product[:, :vocab] += bias
    z = product.to(settings.result)
    if settings.logit_scale != 1:
        z.mul_(settings.logit_scale)
    if settings.softcap is not None:
        z.div_(settings.softcap).tanh_().mul_(settings.softcap)
    if settings.temperature != 1:
        z.mul_(1 / settings.temperature)
    z[:, vocab:] = -torch.inf
    return z


def few_rows(tile: torch.Tensor, settings: Settings) -> list[slice]:
    """The tile's rows, as many at a time as a working buffer holds."""
    size = BUFFER_BYTES if many_small_steps_are_cheap(tile.device) else ACCELERATOR_BUFFER_BYTES
    rows = max(1, size // (tile.shape[1] * settings.result.itemsize))
    return [slice(start, start + rows) for start in range(0, len(tile), rows)]


def _buffers(tile: torch.Tensor, settings: Settings, count: int) -> list[torch.Tensor]:
    first = next(iter(few_rows(tile, settings)), slice(0, 0))
    return [torch.empty_like(tile[first], dtype=settings.result) for _ in range(count)]
