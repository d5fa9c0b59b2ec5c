"""Where the nucleus ends: a few largest logits settle most rows; the others are searched, or sorted off the CPU."""

import math

import torch

from ..precision import wide, wide_dtype
from .rows import SetRows, Settings


BLOCK = 64  # vocabulary entries that share one maximum
TOP = 32  # largest logits looked at before a row is searched
BINS = 4096
# A prefix that ends this close to top_p (relative to the total) is decided in float64 over the whole row
DOUBT = 4e-6
# Stands in for log 0: far below any logarithm whose exponential is not 0, and a finite product with anything
FLOOR = -1e4


def largest(z: torch.Tensor, block_max: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The `TOP` largest logits of each row, descending, ties by index, and their indices.

    The k largest entries lie in the k blocks with the largest maxima: any entry of another block is at most the
    smallest of these maxima. Among entries equal to the k-th value some may be missing, and only among those.

    Args:
        z: `(R, C)`, C a multiple of `BLOCK`.
        block_max: `(R, C / BLOCK)`, maxima of consecutive blocks of `z`.
    """
    rows, columns = z.shape
    k = min(TOP, columns)
    if block_max.shape[1] <= TOP:
        values, index = z.topk(k, dim=-1)
    else:
        blocks = block_max.topk(TOP, dim=-1, sorted=False).indices
        candidates = z.view(rows, -1, BLOCK)[torch.arange(rows, device=z.device).unsqueeze(1), blocks]
        values, place = candidates.view(rows, -1).topk(k, dim=-1)
        index = blocks.gather(1, place // BLOCK) * BLOCK + place % BLOCK
    index, order = index.sort(dim=-1)
    values, order = values.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    return values, index.gather(-1, order)


def settle(
    values: torch.Tensor,
    index: torch.Tensor,
    highest: torch.Tensor,
    total: torch.Tensor,
    vocab: int,
    settings: Settings,
    out: SetRows,
) -> torch.Tensor:
    """Write the nucleus of every row that its largest logits settle; return which rows they do settle, `(R,)` bool."""
    x = values - highest.unsqueeze(-1)
    e = wide(x.exp())
    mass = e.cumsum(-1)
    need = (settings.top_p * wide(total)).unsqueeze(-1)
    size = (mass - e < need).sum(-1)
    reached = (mass[:, -1:] >= need).squeeze(-1)
    certain = ((mass - need).abs() > DOUBT * need).all(-1)
    if settings.nucleus == "exclusive":
        size = (size - 1).clamp(min=1)
    found = cut_after(size, values, index, x, e, mass, vocab)
    settled = reached & certain & (found.pop("lowest_in") > values[:, -1])
    for name, value in found.items():
        field = getattr(out, name)
        field.copy_(torch.where(settled, value.to(field.dtype), field))
    return settled


def cut_after(
    size: torch.Tensor,
    values: torch.Tensor,
    index: torch.Tensor,
    x: torch.Tensor,
    e: torch.Tensor,
    mass: torch.Tensor,
    vocab: int,
) -> dict[str, torch.Tensor]:
    """What [`SetRows`] holds of sets that are the first `size` of `values`, `(R, k)` descending; and `lowest_in`.

    `index` says where the values stand in the row; `x` is their distance from the maximum, `e` its exponential, `mass`
    the cumulated sum of these.
    """
    at = (size - 1).clamp(min=0).unsqueeze(-1)
    lowest_in = values.gather(-1, at).squeeze(-1)
    highest_out = values.gather(-1, (at + 1).clamp(max=values.shape[1] - 1)).squeeze(-1)
    highest_out = highest_out.masked_fill(size >= values.shape[1], -torch.inf)
    set_mass = mass.gather(-1, at).squeeze(-1)
    mean = (e * x.clamp(min=FLOOR)).cumsum(-1).gather(-1, at).squeeze(-1) / set_mass
    tied = highest_out == lowest_in
    return {
        "entropy": (set_mass.log() - mean).clamp(min=0),
        "mass": set_mass,
        "mean": mean,
        "cut": torch.where(tied, lowest_in, between(highest_out, lowest_in)),
        "last": torch.where(tied, index.gather(-1, at).squeeze(-1), vocab),
        "size": size,
        "lowest_in": lowest_in,
    }


def search(z: torch.Tensor, highest: torch.Tensor, settings: Settings, out: SetRows, row: int) -> None:
    """Find the nucleus of one row `(V,)` of finite maximum exactly, and write it to `out[row]`.

    The mass is summed, in float64, into bins of equal width in `z` (rounding keeps the order of the bins); only the
    bin in which top_p is crossed is sorted. What lies below the last bin's edge holds less than `1 - top_p` in all.
    """
    vocab = len(z)
    x = (z - highest).clamp_(min=FLOOR)
    e = wide(x.exp())
    width = (math.log(vocab) - math.log1p(-settings.top_p) + 1) / BINS
    bins = (x * (-1 / width)).clamp_(max=BINS - 1).long()
    histogram = torch.bincount(bins, weights=e, minlength=BINS)
    cumulated = histogram.cumsum(0)
    need = settings.top_p * cumulated[-1]
    crossed = (cumulated < need).sum()
    above = bins < crossed
    place = (bins == crossed).nonzero().squeeze(-1)
    values = z[place]
    if values[0] != values.amax() or values[0] != values.amin():  # not one single value, which needs no sorting
        values, order = values.sort(descending=True, stable=True)
        place = place[order]
    mass_in_bin = e[place]
    before = cumulated[crossed] - histogram[crossed] + mass_in_bin.cumsum(0) - mass_in_bin
    taken = max(int((before < need).sum()), 1)
    size = int(above.sum()) + taken
    if settings.nucleus == "exclusive" and size > 1:
        size, taken = size - 1, taken - 1

    # `taken` entries of the crossed bin are inside, and everything above it
    lowest_in = values[taken - 1] if taken else z.where(above, math.inf).amin()
    highest_out = values[taken] if taken < len(values) else z.where(bins > crossed, -math.inf).amax()
    inside = above
    inside[place[:taken]] = True
    tied = bool(lowest_in == highest_out)
    e.masked_fill_(~inside, 0.0)
    nucleus_mass = e.sum()
    mean = e.mul_(x).sum() / nucleus_mass
    out.entropy[row] = (nucleus_mass.log() - mean).clamp(min=0)
    out.mass[row], out.mean[row] = nucleus_mass, mean
    out.cut[row] = lowest_in if tied else between(highest_out, lowest_in)
    out.last[row] = place[taken - 1] if tied else vocab
    out.size[row] = size


def sort(z: torch.Tensor, highest: torch.Tensor, settings: Settings, out: SetRows, rows: torch.Tensor) -> None:
    """As [`search`], for all of `z`, `(R, V)`, at once, written to `out[rows]`.

    For accelerators, where one sort costs less than the search's many small steps, each of which waits for the host.
    """
    vocab = z.shape[1]
    values, order = z.sort(dim=-1, descending=True, stable=True)
    x = values - highest.unsqueeze(-1)
    e = wide(x.exp())
    mass = e.cumsum(-1)
    total = mass[:, -1:]
    size = (mass - e < settings.top_p * total).sum(-1).clamp(min=1)
    if settings.nucleus == "exclusive":
        size = (size - 1).clamp(min=1)
    found = cut_after(size, values, order, x, e, mass, vocab)
    del found["lowest_in"]
    for name, value in found.items():
        field = getattr(out, name)
        field[rows] = value.to(field.dtype)


def between(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """A number in `(low, high]`: the midpoint where there is one, for `low < high`."""
    low = low.clamp(min=torch.finfo(low.dtype).min / 4)
    middle = low + (high - low) / 2
    return torch.where(middle > low, middle, high)


def block_sum(values: torch.Tensor) -> torch.Tensor:
    """Sums of rows, float32 within a block and float64 over the blocks: near float64's accuracy at float32's speed."""
    return values.view(len(values), -1, BLOCK).sum(-1).sum(-1, dtype=wide_dtype(values.device))
