"""What the fused head must know of a token to recompute its gradient: a few scalars, never its row of logits."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields

import torch

from ..nucleus import Nucleus


# (weight, bias) -> a context inside which both hold their full data; sharded weights are gathered there
Gather = Callable[..., AbstractContextManager]


@dataclass(frozen=True)
class Settings:
    """The numbers of one call of the head, and the dtype of its product."""

    temperature: float
    top_p: float
    nucleus: Nucleus
    logit_scale: float
    softcap: float | None
    product: torch.dtype

    @property
    def result(self) -> torch.dtype:
        """The dtype of everything after the product."""
        return result_dtype(self.product)

    @property
    def slope(self) -> float:
        """`dz / d(product)` where soft-capping does not act."""
        return self.logit_scale / self.temperature


@dataclass
class Rows:
    """Per-token scalars, each `(N,)`. A token `j` is in the nucleus if `z_j > cut`, or `z_j == cut` and `j <= last`.

    `cut` lies halfway between the lowest logit inside and the highest outside, so that a product which rounds
    differently the second time leaves the set as it is; where the two are equal it is their value, and `last` decides.

    Masses and means are those of `y_v = z_v - highest`, of which no `log sum exp z` is kept: its last bit, that of a
    number as large as the logits, would be a relative error of every probability in the row.
    """

    log_prob: torch.Tensor  # log p[target]; NaN for a target outside the vocabulary
    entropy: torch.Tensor
    nucleus_entropy: torch.Tensor
    highest: torch.Tensor  # max_v z_v
    mass: torch.Tensor  # sum_v exp y_v
    mean: torch.Tensor  # sum_v p_v y_v
    nucleus_mass: torch.Tensor  # sum_{v in S} exp y_v
    nucleus_mean: torch.Tensor  # sum_{v in S} q_v y_v
    cut: torch.Tensor
    last: torch.Tensor  # int64
    size: torch.Tensor  # int64, number of tokens in the nucleus

    @classmethod
    def empty(cls, n: int, device: torch.device, dtype: torch.dtype) -> "Rows":
        """Rows to be filled: NaN everywhere, so that nothing forgotten could pass for a number."""
        numbers = [torch.full((n,), math.nan, device=device, dtype=dtype) for _ in range(9)]
        return cls(*numbers, *(torch.zeros(n, device=device, dtype=torch.int64) for _ in range(2)))

    def __getitem__(self, rows: slice | torch.Tensor) -> "Rows":
        return Rows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All fields, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))


def result_dtype(product: torch.dtype) -> torch.dtype:
    """The dtype of everything after the product: float64 for float64, else float32."""
    return torch.float64 if product == torch.float64 else torch.float32
