"""The Triton kernels of the fused head. A program has one row, or one block of a row, of a tile of products.

Arguments in capitals are compiled in. Sums over a row are taken in float64, so that the nucleus is the one that
the torch tiles find.
"""

import triton
import triton.language as tl


@triton.jit
def _tanh(x):
    # through exp where that is accurate, by its series near 0, where 1 - exp would cancel
    decay = tl.exp(-2 * tl.abs(x))
    far = (1 - decay) / (1 + decay)
    far = tl.where(x < 0, -far, far)
    s = x * x
    near = x * (1 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
    return tl.where(tl.abs(x) < 0.25, near, far)


@triton.jit
def _logits(row_ptr, offsets, vocab, logit_scale, softcap, inv_t, CAPPED: tl.constexpr):
    z = tl.load(row_ptr + offsets, mask=offsets < vocab, other=0.0).to(tl.float32) * tl.cast(logit_scale, tl.float32)
    if CAPPED:
        cap = tl.cast(softcap, tl.float32)
        z = cap * _tanh(z / cap)
    return tl.where(offsets < vocab, z * tl.cast(inv_t, tl.float32), -float("inf"))


@triton.jit
def fold_kernel(
    tile_ptr,
    stride,
    targets_ptr,
    log_prob_ptr,
    entropy_ptr,
    highest_ptr,
    mass_ptr,
    mean_ptr,
    size_ptr,
    vocab,
    logit_scale,
    softcap,
    inv_t,
    CAPPED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    row_ptr = tile_ptr + row * stride
    highest = tl.full((), -float("inf"), tl.float32)
    # float32 within a block, float64 over the blocks
    total = tl.full((), 0.0, tl.float64)
    x_total = tl.full((), 0.0, tl.float64)
    possible = tl.full((), 0, tl.int64)
    for start in range(0, vocab, BLOCK):
        z = _logits(row_ptr, start + tl.arange(0, BLOCK), vocab, logit_scale, softcap, inv_t, CAPPED)
        new = tl.maximum(highest, tl.max(z, axis=0))
        base = tl.where(new == -float("inf"), 0.0, new)
        # moving the reference from `highest` to `base`: sum e x becomes sum e (x + highest - base), rescaled
        shift = tl.where(highest == -float("inf"), 0.0, highest - base)
        rescale = tl.exp(shift).to(tl.float64)
        x = z - base
        e = tl.exp(x)
        x_total = (x_total + shift.to(tl.float64) * total) * rescale + tl.sum(tl.where(e > 0, e * x, 0.0), axis=0)
        total = total * rescale + tl.sum(e, axis=0)
        possible += tl.sum((z > -float("inf")).to(tl.int64), axis=0)
        highest = new
    target = tl.load(targets_ptr + row)
    known = (target >= 0) & (target < vocab)
    # a target outside the vocabulary, or a row without a finite maximum, must not pass for a number
    total = tl.where(highest == -float("inf"), float("nan"), total)
    z = tl.sum(
        _logits(row_ptr, tl.where(known, target, 0) + tl.arange(0, 1), vocab, logit_scale, softcap, inv_t, CAPPED)
    )
    log_total = tl.log(total.to(tl.float32))
    tl.store(highest_ptr + row, highest)
    log_prob = z.to(tl.float64) - highest.to(tl.float64) - log_total.to(tl.float64)  # rounded once
    tl.store(log_prob_ptr + row, tl.where(known, log_prob.to(tl.float32), float("nan")))
    tl.store(mass_ptr + row, total.to(tl.float32))
    mean = (x_total / total).to(tl.float32)
    tl.store(mean_ptr + row, mean)
    entropy = log_total - mean
    tl.store(entropy_ptr + row, tl.where(entropy < 0, 0.0, entropy))  # NaN stays
    tl.store(size_ptr + row, tl.where(total == total, possible, 0))


@triton.jit
def find_nucleus_kernel(
    tile_ptr,
    stride,
    highest_ptr,
    nucleus_entropy_ptr,
    nucleus_mass_ptr,
    nucleus_mean_ptr,
    cut_ptr,
    last_ptr,
    size_ptr,
    vocab,
    top_p,
    top_p_rest,
    reach,
    logit_scale,
    softcap,
    inv_t,
    CAPPED: tl.constexpr,
    EXCLUSIVE: tl.constexpr,
    WAYS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # The cut-off value is the largest logit v whose mass(z >= v) reaches top_p. It lies in [low, high): every reading
    # of the row takes the mass above WAYS thresholds and narrows that interval to a single distinct logit in the end.
    row = tl.program_id(0).to(tl.int64)
    row_ptr = tile_ptr + row * stride
    if tl.load(size_ptr + row) == 0:  # a broken row: all its results stay NaN
        return
    highest = tl.load(highest_ptr + row)
    low = highest - tl.cast(reach, tl.float32)
    high = tl.full((), float("inf"), tl.float32)
    top = highest  # the highest threshold worth trying
    need = tl.full((), 0.0, tl.float64)
    total = tl.full((), 0.0, tl.float64)
    value = highest
    searching = True
    while searching:
        ways = tl.arange(0, WAYS)
        thresholds = tl.where(ways == WAYS - 1, top, low + (top - low) * ((ways + 1).to(tl.float32) / WAYS))
        mass = tl.zeros((WAYS, BLOCK), tl.float64)
        whole = tl.zeros((BLOCK,), tl.float64)
        least = tl.full((BLOCK,), float("inf"), tl.float32)
        most = tl.full((BLOCK,), -float("inf"), tl.float32)
        for start in range(0, vocab, BLOCK):
            z = _logits(row_ptr, start + tl.arange(0, BLOCK), vocab, logit_scale, softcap, inv_t, CAPPED)
            e = tl.exp(z - highest).to(tl.float64)
            whole += e
            mass += tl.where(z[None, :] >= thresholds[:, None], e[None, :], 0.0)
            between = (z >= low) & (z < high)
            least = tl.minimum(least, tl.where(between, z, float("inf")))
            most = tl.maximum(most, tl.where(between, z, -float("inf")))
        total = tl.sum(whole, axis=0)
        need = (tl.cast(top_p, tl.float64) + tl.cast(top_p_rest, tl.float64)) * total
        reached = tl.sum(mass, axis=1) >= need
        value = tl.max(most, axis=0)
        smallest = tl.min(least, axis=0)
        low = tl.maximum(tl.maximum(low, smallest), tl.max(tl.where(reached, thresholds, -float("inf")), axis=0))
        high = tl.minimum(high, tl.min(tl.where(reached, float("inf"), thresholds), axis=0))
        top = tl.minimum(high, value)
        searching = (smallest < value) & (low < value)

    # one more reading: what lies above the cut-off value, at it, and next to it on either side
    mass_above = tl.zeros((BLOCK,), tl.float64)
    x_mass_above = tl.zeros((BLOCK,), tl.float64)
    count_above = tl.zeros((BLOCK,), tl.int64)
    count_at = tl.zeros((BLOCK,), tl.int64)
    least_above = tl.full((BLOCK,), float("inf"), tl.float32)
    most_below = tl.full((BLOCK,), -float("inf"), tl.float32)
    for start in range(0, vocab, BLOCK):
        z = _logits(row_ptr, start + tl.arange(0, BLOCK), vocab, logit_scale, softcap, inv_t, CAPPED)
        x = z - highest
        e = tl.exp(x)
        above = z > value
        mass_above += tl.where(above, e.to(tl.float64), 0.0)
        x_mass_above += tl.where(above, e.to(tl.float64) * x, 0.0)
        count_above += above.to(tl.int64)
        count_at += (z == value).to(tl.int64)
        least_above = tl.minimum(least_above, tl.where(above, z, float("inf")))
        most_below = tl.maximum(most_below, tl.where(z < value, z, -float("inf")))
    x_value = value - highest
    e_value = tl.sum(tl.exp(x_value + tl.zeros((1,), tl.float32)), axis=0).to(tl.float64)
    nucleus_mass = tl.sum(mass_above, axis=0)
    above = tl.sum(count_above, axis=0)
    at = tl.sum(count_at, axis=0)
    # as few of the equal logits as are needed, those of smallest index
    taken = tl.ceil(((need - nucleus_mass) / e_value).to(tl.float64)).to(tl.int64)
    taken = tl.minimum(tl.maximum(taken, 1), at)
    if EXCLUSIVE:
        taken = tl.where(above + taken > 1, taken - 1, taken)
    nucleus_mass += taken * e_value
    x_mass = tl.sum(x_mass_above, axis=0) + taken * e_value * x_value
    # the cut: between the lowest logit inside and the highest outside; where these are equal, their value and an index
    inside = tl.where(taken > 0, value, tl.min(least_above, axis=0))
    outside = tl.where(taken > 0, tl.max(most_below, axis=0), value)
    outside = tl.maximum(outside, -1e37)
    cut = outside + (inside - outside) / 2
    cut = tl.where(cut > outside, cut, inside)
    last = tl.cast(vocab, tl.int64)
    if (taken > 0) & (taken < at):
        cut = value
        seen = tl.full((), 0, tl.int64)
        for start in range(0, vocab, BLOCK):
            offsets = start + tl.arange(0, BLOCK)
            z = _logits(row_ptr, offsets, vocab, logit_scale, softcap, inv_t, CAPPED)
            equal = (z == value).to(tl.int64)
            rank = seen + tl.cumsum(equal, axis=0)
            last = tl.minimum(last, tl.min(tl.where((equal > 0) & (rank == taken), offsets, vocab), axis=0))
            seen += tl.sum(equal, axis=0)
    log_nucleus = tl.log(nucleus_mass.to(tl.float32))
    mean = (x_mass / nucleus_mass).to(tl.float32)
    tl.store(nucleus_entropy_ptr + row, tl.maximum(log_nucleus - mean, 0.0))
    tl.store(nucleus_mass_ptr + row, nucleus_mass.to(tl.float32))
    tl.store(nucleus_mean_ptr + row, mean)
    tl.store(cut_ptr + row, cut)
    tl.store(last_ptr + row, last)
    tl.store(size_ptr + row, above + taken)


@triton.jit
def unfold_kernel(
    tile_ptr,
    stride,
    targets_ptr,
    highest_ptr,
    mass_ptr,
    mean_ptr,
    nucleus_mass_ptr,
    nucleus_mean_ptr,
    cut_ptr,
    last_ptr,
    on_target_ptr,
    on_entropy_ptr,
    on_nucleus_ptr,
    vocab,
    logit_scale,
    softcap,
    inv_t,
    CAPPED: tl.constexpr,
    ON_TARGET: tl.constexpr,
    ON_ENTROPY: tl.constexpr,
    ON_NUCLEUS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row_ptr = tile_ptr + row * stride
    z = _logits(row_ptr, offsets, vocab, logit_scale, softcap, inv_t, CAPPED)
    y = z - tl.load(highest_ptr + row)
    e = tl.exp(y)
    y = tl.where(e == 0, 0.0, y)  # e and y enter as a product, whose limit is 0
    p = e / tl.load(mass_ptr + row)
    gradient = tl.zeros((BLOCK,), tl.float32)
    if ON_TARGET:
        is_target = (offsets == tl.load(targets_ptr + row)).to(tl.float32)
        gradient += tl.load(on_target_ptr + row) * (is_target - p)
    if ON_ENTROPY:
        gradient -= tl.load(on_entropy_ptr + row) * p * (y - tl.load(mean_ptr + row))
    if ON_NUCLEUS:
        cut = tl.load(cut_ptr + row)
        outside = (z < cut) | ((z == cut) & (offsets > tl.load(last_ptr + row)))
        q = e / tl.load(nucleus_mass_ptr + row)
        term = tl.load(on_nucleus_ptr + row) * q * (y - tl.load(nucleus_mean_ptr + row))
        gradient -= tl.where(outside, 0.0, term)
    slope = tl.cast(inv_t, tl.float32) * tl.cast(logit_scale, tl.float32)
    gradient *= slope
    if CAPPED:
        tanh = z / (tl.cast(inv_t, tl.float32) * tl.cast(softcap, tl.float32))
        gradient *= 1 - tanh * tanh
    tl.store(row_ptr + offsets, gradient.to(tile_ptr.dtype.element_ty), mask=offsets < vocab)
