"""What the fused head must know of a token to recompute its gradient: a few scalars, never its row of logits."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Self

import torch

from ..nucleus import Nucleus
from .sets import WordSet


# (weight, bias) -> a context inside which both hold their full data; sharded weights are gathered there
Gather = Callable[..., AbstractContextManager]


@dataclass(frozen=True)
class Settings:
    """The numbers of one call of the head, the sets it measures, and the dtype of its product."""

    temperature: float
    top_p: float
    nucleus: Nucleus
    logit_scale: float
    softcap: float | None
    product: torch.dtype
    sets: tuple[WordSet, ...] = ()
    top_two: bool = False

    @property
    def result(self) -> torch.dtype:
        """The dtype of everything after the product."""
        return result_dtype(self.product)

    @property
    def slope(self) -> float:
        """`dz / d(product)` where soft-capping does not act."""
        return self.logit_scale / self.temperature


@dataclass
class SetRows:
    """A set of words a token, in scalars `(N,)`. Word `j` is inside if `z_j > cut`, or `z_j == cut` and `j <= last`.

    `cut` lies halfway between the lowest logit inside and the highest outside, so that a product which rounds
    differently the second time leaves the set as it is; where the two are equal it is their value, and `last` decides.
    """

    entropy: torch.Tensor  # of q, which is p renormalised inside
    log_mass: torch.Tensor  # log P(S); of the sets beside the nucleus only
    mass: torch.Tensor  # sum_{v in S} exp y_v
    mean: torch.Tensor  # sum_{v in S} q_v y_v
    cut: torch.Tensor
    last: torch.Tensor  # int64
    size: torch.Tensor  # int64, number of words; of the nucleus only

    @classmethod
    def empty(cls, n: int, device: torch.device, dtype: torch.dtype) -> Self:
        """Rows to be filled: NaN everywhere, so that nothing forgotten could pass for a number."""
        numbers = [torch.full((n,), math.nan, device=device, dtype=dtype) for _ in range(5)]
        return cls(*numbers, *(torch.zeros(n, device=device, dtype=torch.int64) for _ in range(2)))

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All fields, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def __getitem__(self, rows: slice | torch.Tensor) -> Self:
        return type(self)(*(tensor[rows] for tensor in self.tensors()))


@dataclass
class Rows:
    """Per-token scalars, each `(N,)`, and the sets of words.

    Masses and means are those of `y_v = z_v - highest`, of which no `log sum exp z` is kept: its last bit, that of a
    number as large as the logits, would be a relative error of every probability in the row.
    """

    log_prob: torch.Tensor  # log p[target]; NaN for a target outside the vocabulary
    entropy: torch.Tensor
    highest: torch.Tensor  # max_v z_v
    mass: torch.Tensor  # sum_v exp y_v
    mean: torch.Tensor  # sum_v p_v y_v
    top_two: torch.Tensor  # (N, 2), the two largest probabilities, if asked for
    nucleus: SetRows
    sets: tuple[SetRows, ...] = ()

    @classmethod
    def empty(cls, n: int, device: torch.device, dtype: torch.dtype, sets: int = 0) -> Self:
        """Rows to be filled, with that many sets beside the nucleus."""
        numbers = [torch.full((n,), math.nan, device=device, dtype=dtype) for _ in range(5)]
        top_two = torch.full((n, 2), math.nan, device=device, dtype=dtype)
        of_sets = (tensor for _ in range(1 + sets) for tensor in SetRows.empty(n, device, dtype).tensors())
        return cls.of((*numbers, top_two, *of_sets))

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All fields, in order, the sets' after the token's own."""
        own = (self.log_prob, self.entropy, self.highest, self.mass, self.mean, self.top_two)
        return (*own, *(tensor for one in (self.nucleus, *self.sets) for tensor in one.tensors()))

    @classmethod
    def of(cls, tensors: Sequence[torch.Tensor]) -> Self:
        """The rows whose [`tensors`][trl_entropy.functional.head.rows.Rows.tensors] these are."""
        log_prob, entropy, highest, mass, mean, top_two, *of_sets = tensors
        width = len(fields(SetRows))
        nucleus, *others = (SetRows(*of_sets[at : at + width]) for at in range(0, len(of_sets), width))
        return cls(log_prob, entropy, highest, mass, mean, top_two, nucleus, tuple(others))

    def __getitem__(self, rows: slice | torch.Tensor) -> Self:
        return self.of(tuple(tensor[rows] for tensor in self.tensors()))


def result_dtype(product: torch.dtype) -> torch.dtype:
    """The dtype of everything after the product: float64 for float64, else float32."""
    return torch.float64 if product == torch.float64 else torch.float32
