"""The scope of a whole batch: all processes, each with its part."""

from collections.abc import Callable
from typing import cast

import torch
from accelerate import Accelerator

from ..functional.selection import Scope


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose stream is fixed by these whole numbers, each of which matters."""
    seed = 0
    for number in numbers:
        # splitmix64's finalizer, so that neighbouring seeds and counters give unrelated streams
        seed = (seed ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        seed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        seed = (seed ^ seed >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        seed ^= seed >> 31
    return torch.Generator().manual_seed(seed)


class Everywhere(Scope):
    """The batch of all processes. `generator` must give the same stream on each of them."""

    def __init__(self, accelerator: Accelerator, generator: Callable[[], torch.Generator] | None = None):
        super().__init__(generator)
        self.accelerator = accelerator
        self.rank = accelerator.process_index

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.accelerator.reduce(values, reduction="sum"))

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.accelerator.gather(values.unsqueeze(0)))
