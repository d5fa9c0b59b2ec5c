"""Sets of words beside the nucleus, in a tile of logits: where they end, what they hold, and their gradient.

In torch, on every device. A CPU takes the cut-off of most min-p sets from a few largest logits, and that of a count
from a histogram, row by row; an accelerator reads all rows at once and never waits for the host.
"""

import math

import torch

from ..precision import wide
from .cutoff import BINS, FLOOR, between, block_sum, cut_after
from .rows import Rows, SetRows, Settings
from .sets import DropShare, MinP


# Of each row: what is strictly above `value` is inside, and `taken` words at it; then `cut` and `last` of `SetRows`
Cut = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def find_sets(
    z: torch.Tensor,
    e: torch.Tensor,
    top: tuple[torch.Tensor, torch.Tensor] | None,
    highest: torch.Tensor,
    total: torch.Tensor,
    vocab: int,
    settings: Settings,
    out: Rows,
    row_by_row: bool,
) -> None:
    """Fill `out.sets`, and `out.top_two` if asked for.

    Args:
        z: `(R, C)` logits, -inf from column `vocab` on.
        e: `exp(z - highest)`.
        top: the largest logits of each row and their indices, descending, for the sets that [`needs_top`] names.
        highest, total: `(R,)`, the maximum and `sum_v e_v`.
        vocab: V.
        settings: the head's numbers.
        out: R rows.
        row_by_row: the way of CPUs.
    """
    if settings.top_two:
        two = (z.topk(2, dim=-1) if top is None else top)[0][:, :2]
        out.top_two.copy_((two - highest.unsqueeze(-1)).exp() / total.unsqueeze(-1))
    for one, rows in zip(settings.sets, out.sets, strict=True):
        if not row_by_row:
            cut = _min_p_cut(z, highest, one) if isinstance(one, MinP) else _kept_cut(z, vocab, one.kept(vocab))
            _measure(z, e, highest, total, cut, rows)
            continue
        left = ~total.isnan()
        if isinstance(one, MinP) and top is not None:
            left &= ~_settle_min_p(*top, highest, total, vocab, one, rows)
        for row in left.nonzero().squeeze(1).tolist():
            just, words = slice(row, row + 1), (z[row, :vocab], highest[row])
            cut = _search_min_p(*words, one) if isinstance(one, MinP) else _search_kept(*words, one)
            _measure(z[just], e[just], highest[just], total[just], cut, rows[just])


def needs_top(settings: Settings) -> bool:
    """Whether some set, or the two largest probabilities, can be read off a few largest logits."""
    return settings.top_two or any(isinstance(one, MinP) for one in settings.sets)


def set_factor(
    z: torch.Tensor, known: Rows, gradients: tuple[torch.Tensor | None, ...], slope: float
) -> torch.Tensor | None:
    """What the sets' gradients by `z_j` are, divided by `exp y_j`: `(R, C)`, or None where none is asked for.

    With `g_M` and `g_H` the gradients of log mass and entropy, `W` the mass of the row and `W_S` that of the set,

        g_M ([j in S] / W_S - 1 / W) - [j in S] g_H (y_j - m_S) / W_S

    Inside, `1 / W_S - 1 / W` is taken as `-expm1(log P(S)) / W_S`, which does not cancel.

    Args:
        z: `(R, C)` logits, which stay as they are.
        known: the rows that `find_sets` filled.
        gradients: log mass and entropy of each set, `(R,)` each, or None.
        slope: factor on all.
    """
    factor = y = None
    for at, one in enumerate(known.sets):
        on_mass, on_entropy = gradients[2 * at : 2 * at + 2]
        if on_mass is None and on_entropy is None:
            continue
        inside = torch.gt(z, one.cut.unsqueeze(1), out=torch.empty_like(z))  # 1 and 0: fast to multiply by
        if z.device.type != "cpu" or bool((one.last < z.shape[1]).any()):
            column = torch.arange(z.shape[1], device=z.device)
            inside += (z == one.cut.unsqueeze(1)) & (column <= one.last.unsqueeze(1))
        if on_entropy is not None:
            y = (z - known.highest.unsqueeze(1)).clamp_(min=FLOOR) if y is None else y
            d = (-slope * on_entropy / one.mass).unsqueeze(1)
            term = torch.sub(y, one.mean.unsqueeze(1)).mul_(d).mul_(inside)
            factor = term if factor is None else factor.add_(term)
        if on_mass is not None:
            c = (slope * on_mass / one.mass).unsqueeze(1)
            term = inside.sub_(1).mul_(c).sub_(c * one.log_mass.expm1().unsqueeze(1))
            factor = term if factor is None else factor.add_(term)
    return factor


def set_gradient(
    z: torch.Tensor, known: Rows, gradients: tuple[torch.Tensor | None, ...], settings: Settings
) -> torch.Tensor:
    """The sets' gradients by the products whose logits are `z`, where at least one is asked for; `z` is lost."""
    factor = set_factor(z, known, gradients, settings.slope)
    assert factor is not None
    if settings.softcap is not None:
        factor *= 1 - (z * (settings.temperature / settings.softcap)).square_()
    return factor.mul_(z.sub_(known.highest.unsqueeze(1)).exp_())


def _settle_min_p(
    values: torch.Tensor,
    index: torch.Tensor,
    highest: torch.Tensor,
    total: torch.Tensor,
    vocab: int,
    one: MinP,
    out: SetRows,
) -> torch.Tensor:
    """Write the set of every row that ends within its largest logits; return which rows do, `(R,)` bool."""
    size = (values >= one.lowest(highest).unsqueeze(-1)).sum(-1)
    settled = size < values.shape[1]
    x = values - highest.unsqueeze(-1)
    e = wide(x.exp())
    found = cut_after(size, values, index, x, e, e.cumsum(-1), vocab)
    del found["lowest_in"]
    found["log_mass"] = (found["mass"] / total).log().clamp(max=0)
    for name, value in found.items():
        field = getattr(out, name)
        field.copy_(torch.where(settled, value.to(field.dtype), field))
    return settled


def _min_p_cut(z: torch.Tensor, highest: torch.Tensor, one: MinP) -> Cut:
    lowest = one.lowest(highest)
    inside = z >= lowest.unsqueeze(1)
    lowest_in = z.masked_fill(~inside, torch.inf).amin(-1)
    highest_out = z.masked_fill(inside, -torch.inf).amax(-1)
    none = torch.zeros_like(lowest, dtype=torch.int64)
    return highest_out, none, between(highest_out, lowest_in), none + z.shape[1]


def _kept_cut(z: torch.Tensor, vocab: int, kept: int) -> Cut:
    value = z[:, :vocab].kthvalue(vocab - kept + 1, dim=-1).values.unsqueeze(1)
    taken = kept - (z > value).sum(-1, keepdim=True)
    at = z == value
    inside = at & (at.cumsum(-1) <= taken)
    tied = at.sum(-1) > taken.squeeze(1)
    below = z.masked_fill(z >= value, -torch.inf).amax(-1)
    column = torch.arange(z.shape[1], device=z.device)
    value = value.squeeze(1)
    cut = torch.where(tied, value, between(below, value))
    return value, taken.squeeze(1), cut, torch.where(tied, (inside * column).amax(-1), z.shape[1])


def _search_min_p(z: torch.Tensor, highest: torch.Tensor, one: MinP) -> Cut:
    """The cut of one row `(V,)`; `threshold` is many times as fast as a mask."""
    lowest = one.lowest(highest)
    above = torch.nextafter(lowest, torch.full_like(lowest, -math.inf)).item()
    lowest_in = torch.threshold(z, above, math.inf).amin()
    highest_out = -torch.threshold(-z, -lowest.item(), math.inf).amin()
    none = torch.zeros(1, dtype=torch.int64)
    return highest_out, none, between(highest_out, lowest_in), none + len(z)


def _search_kept(z: torch.Tensor, highest: torch.Tensor, one: DropShare) -> Cut:
    """The cut of one row `(V,)`: counts in bins of equal width in `z`; only the bin with the last word is sorted."""
    kept = one.kept(len(z))
    lowest = z.amin()
    if lowest == -torch.inf:
        lowest = z.masked_fill(z == -torch.inf, torch.inf).amin()
    width = (highest - lowest).clamp(min=torch.finfo(z.dtype).tiny) / BINS
    bins = torch.sub(highest, z).div_(width).clamp_(max=BINS - 1).int()
    cumulated = bins.bincount(minlength=BINS).cumsum(0)
    crossed = (cumulated < kept).sum()
    place = (bins == crossed).nonzero().squeeze(-1)
    values = z[place]
    if values.amax() != values.amin():
        values, order = values.sort(descending=True, stable=True)
        place = place[order]
    at = kept - int(cumulated[crossed]) + len(values) - 1
    value = values[at]
    taken = (values[: at + 1] == value).sum()
    after = values[at + 1] if at + 1 < len(values) else z.where(bins > crossed, -torch.inf).amax()
    tied = after == value
    last = torch.where(tied, place[at], len(z))
    return value, taken, torch.where(tied, value, between(after, value)), last


def _measure(
    z: torch.Tensor, e: torch.Tensor, highest: torch.Tensor, total: torch.Tensor, cut: Cut, out: SetRows
) -> None:
    value, taken, out_cut, last = cut
    x = z - highest.unsqueeze(1)
    e = torch.gt(z, value.unsqueeze(-1), out=torch.empty_like(z)).mul_(e)
    at_value = wide(value - highest)
    mass_at = torch.where(taken > 0, taken * at_value.exp(), 0)
    mass = block_sum(e) + mass_at
    mean = (block_sum(x.clamp_(min=FLOOR).mul_(e)) + mass_at * at_value.clamp(min=FLOOR)) / mass
    out.entropy.copy_((mass.log() - mean).clamp(min=0))
    out.log_mass.copy_((mass / total).log().clamp(max=0))
    out.mass.copy_(mass)
    out.mean.copy_(mean)
    out.cut.copy_(out_cut)
    out.last.copy_(last)
