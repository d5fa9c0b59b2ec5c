"""Nucleus entropy from logits: the plain dense form. The fused form, which never builds logits, is in `fused.py`."""

from typing import Literal

import torch

from .precision import wide


Nucleus = Literal["inclusive", "exclusive"]
NUCLEI: tuple[str, ...] = ("inclusive", "exclusive")


def check_nucleus_arguments(top_p: float, nucleus: str) -> None:
    """Raise `ValueError` unless `top_p` lies in (0, 1] and `nucleus` is one of the two known sets."""
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} is not allowed; give a number in (0, 1], for example 0.8.")
    if nucleus not in NUCLEI:
        raise ValueError(f"nucleus={nucleus!r} is not allowed; give one of {', '.join(map(repr, NUCLEI))}.")


@torch.no_grad()
def nucleus_mask(logits: torch.Tensor, top_p: float, nucleus: Nucleus = "inclusive") -> torch.Tensor:
    r"""The top-p nucleus of each distribution (SIREN's top-p mask, arXiv 2509.25133).

    Order the words by logit, ties by the smaller index. `inclusive` is the shortest prefix whose probability mass
    reaches `top_p`; `exclusive` is that prefix without its last word, though never empty, as the authors' code has it.
    `top_p = 1` is the whole vocabulary in both. The exponentials `exp(z - max z)` are rounded to the logits' dtype (at
    least float32) and summed in float64 (float32 on MPS, which has no other): the set is
    that of exact arithmetic on them.

    Args:
        logits: (..., V).
        top_p: in (0, 1].
        nucleus: "inclusive" or "exclusive".

    Returns:
        (..., V), bool. A word of probability 0 (logit -inf) is never inside. A row with NaN or +inf is all True, so
        that whatever is computed on it becomes NaN instead of a wrong number.
    """
    check_nucleus_arguments(top_p, nucleus)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    possible = ~torch.isneginf(logits)
    if top_p == 1:
        return possible
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    mass = wide((ordered - ordered[..., :1]).exp())
    total = mass.sum(-1, keepdim=True)
    # a word is inside while the mass before it falls short; the last one inside is the one that reaches top_p
    size = (mass.cumsum(-1) - mass < top_p * total).sum(-1, keepdim=True)
    if nucleus == "exclusive":
        size = size - 1
    inside = torch.arange(logits.shape[-1], device=logits.device) < size.clamp(min=1)
    inside = torch.zeros_like(possible).scatter(-1, order, inside)
    return (inside | total.isnan()) & possible


def nucleus_entropy(logits: torch.Tensor, top_p: float, nucleus: Nucleus = "inclusive") -> torch.Tensor:
    r"""Entropy of the distribution renormalised inside its top-p nucleus (SIREN, arXiv 2509.25133, top-p mask).

    `H^p = -sum_{v in S} q_v log q_v`, with `q_v = exp(z_v) / sum_{u in S} exp(z_u)` and `S` as in [`nucleus_mask`].
    The set is not differentiated: `dH^p/dz_j = -q_j (log q_j + H^p)` inside it and exactly 0 outside.

    Args:
        logits: (..., V), already divided by the sampling temperature. float64, float32, bfloat16 or float16.
        top_p: p, in (0, 1]; 1 gives the full entropy.
        nucleus: "inclusive" (the usual nucleus) or "exclusive" (without the word that crosses p).

    Returns:
        (...), nats, float64 for float64 logits and float32 otherwise. 0 where one word fills the nucleus; NaN for a
        row with a NaN or +inf logit.

    Raises:
        ValueError: for a `top_p` outside (0, 1] or an unknown `nucleus`.

    >>> fork = torch.tensor([0.5, 0.45, 0.05]).log()
    >>> nucleus_entropy(fork, 0.8)  # 0.5 and 0.45, renormalised
    tensor(0.6918)
    >>> nucleus_entropy(fork, 0.8, "exclusive")  # the word that crosses 0.8 is dropped, one remains
    tensor(0.)
    """
    inside = nucleus_mask(logits, top_p, nucleus)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    log_q = logits.masked_fill(~inside, -torch.inf).log_softmax(-1)
    return (log_q.exp() * -log_q.masked_fill(~inside, 0.0)).sum(-1).clamp(min=0)
