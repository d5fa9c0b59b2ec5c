"""Sets of words beside the nucleus, whose mass and entropy the head measures: by a ratio, and by a count."""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class MinP:
    """The words at least `kappa` times as probable as the most probable one: `{v : p_v >= kappa max_u p_u}`.

    Min-p sampling's set, from which Lp-Reg (arXiv 2510.03222) makes its proxy. `p` is the policy's distribution, at
    its temperature; in logits, `z_v >= max z + log kappa`. `kappa` lies in (0, 1]; 1 keeps the most probable only.

    >>> MinP(0.4).mask(torch.tensor([0.5, 0.25, 0.15, 0.1]).log()).tolist()
    [True, True, False, False]
    """

    kappa: float

    def __post_init__(self) -> None:
        if not 0 < self.kappa <= 1:
            raise ValueError(f"kappa is {self.kappa}; give a number in (0, 1], for example 0.02.")

    def lowest(self, highest: torch.Tensor) -> torch.Tensor:
        """The smallest logit inside, where `highest` is the largest of the row."""
        return highest + math.log(self.kappa)

    def mask(self, z: torch.Tensor) -> torch.Tensor:
        """Which words are inside, `(..., V)` bool."""
        return z >= self.lowest(z.amax(-1, keepdim=True))


@dataclass(frozen=True)
class DropShare:
    """All words but the `floor(share * V)` least probable ones: a count of the vocabulary, whatever their mass.

    AEnt (arXiv 2509.03493) takes the entropy of the distribution renormalised on them. V is the number of the head's
    rows. Among equal logits those of smaller index stay. `share` lies in [0, 1); 0 keeps the whole vocabulary.

    >>> DropShare(0.3).mask(torch.tensor([0.5, 0.1, 0.25, 0.15]).log()).tolist()
    [True, False, True, True]
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share is {self.share}; give a number in [0, 1), for example 0.3.")

    def kept(self, vocab: int) -> int:
        """How many words stay, at least one."""
        return max(1, vocab - int(self.share * vocab))

    def mask(self, z: torch.Tensor) -> torch.Tensor:
        """Which words are inside, `(..., V)` bool."""
        order = z.argsort(dim=-1, descending=True, stable=True)[..., : self.kept(z.shape[-1])]
        return torch.zeros_like(z, dtype=torch.bool).scatter(-1, order, True)


WordSet = MinP | DropShare
