"""The plain twin of the fused head: full logits, one sort, and autograd does the rest."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..nucleus import Nucleus, check_nucleus_arguments, nucleus_mask
from .rows import Gather, result_dtype
from .sets import WordSet


@contextmanager
def held_in_full(weight: torch.Tensor, bias: torch.Tensor | None) -> Iterator[None]:
    """The default `gather`: the weight is not sharded, so there is nothing to do."""
    yield


def dense_log_probs(
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
    """Token log-probability, entropy and nucleus entropy of a language-model head, from its full logits.

    With `z = softcap * tanh(logit_scale * (hidden @ weight.T + bias) / softcap) / temperature` and `p = softmax(z)`:

        log_prob = log p[target]     entropy = -sum_v p_v log p_v     nucleus_entropy = -sum_{v in S} q_v log q_v

    where `q` is `p` renormalised inside the nucleus `S` (SIREN, arXiv 2509.25133, top-p mask). This is the reference
    that [`fused_log_probs`][trl_entropy.functional.fused_log_probs] is held against, and it has its signature.

    **The nucleus.** Tokens are ordered by `z`, descending; equal ones by vocabulary index, ascending. `"inclusive"`
    keeps the shortest prefix whose mass reaches `top_p`, `"exclusive"` that prefix without its last token, but never
    less than one token. `top_p=1` keeps the whole vocabulary in both. The exponentials `exp(z - max z)` are rounded to
    the result's dtype and summed in float64; the prefix is the first whose sum is at least `top_p` times the total. So
    the set is that of exact arithmetic on those exponentials; a prefix that truly ends within their rounding of
    `top_p` (1e-7 relative in float32) may come out one token longer or shorter than on paper.

    Args:
        hidden: `(N, D)` hidden states; `N = 0` is allowed.
        weight: `(V, D)` weight of the head.
        bias: `(V,)` or None.
        targets: `(N,)` int64 vocabulary indices in `[0, V)`.
        temperature: sampling temperature, positive.
        top_p: mass of the nucleus, in `(0, 1]`.
        nucleus: `"inclusive"` or `"exclusive"`.
        logit_scale: factor on the product (Cohere, Granite).
        softcap: bound on the logits (Gemma), positive, or None.
        gather: context-manager factory, called as `gather(weight, bias)`, entered around the use of the weight.
        tile_bytes: accepted for the common signature; the twin always holds the full logits.
        return_nucleus_size: also return the number of tokens in the nucleus.
        sets: further sets of tokens to measure, [`MinP`][trl_entropy.functional.head.sets.MinP] and
            [`DropShare`][trl_entropy.functional.head.sets.DropShare].
        return_top_two: also return the two largest probabilities.

    Returns:
        `(log_probs, entropy, nucleus_entropy)`, each `(N,)`, in nats and float32 (float64 for float64 products), and
        `nucleus_size` `(N,)` int64 if asked for; then for each of `sets` its `log_mass = log sum_{v in S} p_v` and
        `entropy`, `(N,)` each, with gradient; then `top_two` `(N, 2)` if asked for, descending, without gradient (the
        second is 0 in a vocabulary of one). Under autocast the product is taken in the autocast dtype.
        A set is not differentiated: `d entropy / dz_j` is `-q_j (log q_j + entropy)` inside it and 0 outside, and
        `d log_mass / dz_j` is `q_j - p_j` inside and `-p_j` outside. A token with logit `-inf` has probability 0, adds
        0 to every entropy and is in no nucleus. A row with a NaN or `+inf` logit, or with `-inf` only, gives NaN in
        every result, and size 0.

    Raises:
        ValueError: shapes that do not match, `top_p`, `temperature`, `nucleus` or `softcap` outside what is allowed,
            targets outside `[0, V)`.
        TypeError: hidden states that are not floating point, targets that are not integers.

    Example:
        >>> hidden = torch.eye(3)[:1]
        >>> weight = torch.tensor([[0.5, 0.0, 0.0], [0.25, 0.0, 0.0], [0.25, 0.0, 0.0]]).log().clamp(min=-9)
        >>> _, entropy, nucleus = dense_log_probs(hidden, weight, None, torch.tensor([0]), top_p=0.7)
        >>> [round(x.item(), 4) for x in (entropy, nucleus)]  # nucleus of two: 2/3 and 1/3
        [1.0397, 0.6365]
    """
    check_settings(temperature, top_p, nucleus, logit_scale, softcap)
    with gather(weight, bias):
        check_tensors(hidden, weight, bias, targets)
        dtype = product_dtype(hidden)
        logits = hidden.to(dtype) @ weight.to(dtype).t()
        if bias is not None:
            logits = logits + bias.to(dtype)
    z = logits.to(result_dtype(dtype)) * logit_scale
    if softcap is not None:
        z = softcap * torch.tanh(z / softcap)
    z = z * (1 / temperature)

    log_probs = z.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - z.logsumexp(-1)
    entropy = _entropy(z)
    inside = nucleus_mask(z.detach(), top_p, nucleus)
    size = inside.sum(-1)
    nucleus_entropy = _entropy(z.masked_fill(~inside, -math.inf)) if top_p < 1 else entropy
    broken = torch.isnan(entropy.detach())
    log_probs = log_probs + torch.zeros_like(entropy).masked_fill(broken, math.nan)
    outputs = [log_probs, entropy, nucleus_entropy]
    if return_nucleus_size:
        outputs.append(size.masked_fill(broken, 0))
    for one in sets:
        inside = one.mask(z.detach()) | broken.unsqueeze(-1)  # all of a broken row, so that its gradient is NaN too
        kept = z.masked_fill(~inside, -math.inf)
        outputs += [kept.logsumexp(-1) - z.logsumexp(-1), _entropy(kept)]
    if return_top_two:
        p = z.detach().softmax(-1)
        outputs.append(torch.nn.functional.pad(p, (0, 1)).topk(2, dim=-1).values)
    return tuple(outputs)


def product_dtype(hidden: torch.Tensor) -> torch.dtype:
    """The dtype of `hidden @ weight.T`: the autocast dtype where autocast is on, else that of `hidden`."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def check_settings(temperature: float, top_p: float, nucleus: str, logit_scale: float, softcap: float | None) -> None:
    """Raise ValueError for a number that the formulas do not allow."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature is {temperature}; it must be a positive number (logits are divided by it).")
    check_nucleus_arguments(top_p, nucleus)
    if not math.isfinite(logit_scale):
        raise ValueError(f"logit_scale is {logit_scale}; it must be a finite number.")
    if softcap is not None and not (softcap > 0 and math.isfinite(softcap)):
        raise ValueError(f"softcap is {softcap}; it must be a positive number, or None for no soft-capping.")


def check_tensors(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> None:
    """Raise for shapes or dtypes that do not fit together. Call it where the weight holds its full data."""
    if hidden.ndim != 2 or weight.ndim != 2 or hidden.shape[1] != weight.shape[1]:
        raise ValueError(
            f"hidden is {tuple(hidden.shape)} and weight {tuple(weight.shape)}; they must be (N, D) and (V, D). "
            "Flatten the batch and time axes of the hidden states first."
        )
    if weight.shape[0] == 0:
        raise ValueError("weight has no rows: the vocabulary is empty. If the weight is sharded, pass `gather`.")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias is {tuple(bias.shape)}; with this weight it must be ({weight.shape[0]},).")
    if targets.shape != hidden.shape[:1]:
        raise ValueError(f"targets is {tuple(targets.shape)}; with these hidden states it must be ({len(hidden)},).")
    if not hidden.is_floating_point() or not weight.is_floating_point():
        raise TypeError(f"hidden is {hidden.dtype} and weight {weight.dtype}; both must be floating point.")
    if targets.dtype != torch.int64:
        raise TypeError(f"targets is {targets.dtype}; it must be torch.int64. Call `.long()` on it.")
    # elsewhere the check would make the host wait for the device; there a bad target gives a NaN log-probability
    if targets.device.type == "cpu" and len(targets) and not 0 <= targets.min() <= targets.max() < weight.shape[0]:
        raise ValueError(
            f"targets range from {targets.min()} to {targets.max()}; the vocabulary is [0, {weight.shape[0]}). "
            "Replace ignored labels (-100) by any valid index and mask the result."
        )


def _entropy(z: torch.Tensor) -> torch.Tensor:
    # log sum e - sum e x / sum e with x = z - max z: no cancellation against a large common offset
    x = z - z.amax(-1, keepdim=True).detach()
    e = x.exp()
    total = e.sum(-1)
    return total.log() - (e * x.masked_fill(x == -math.inf, 0.0)).sum(-1) / total
