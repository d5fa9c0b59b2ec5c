"""One selection of tokens, wherever the parts of the batch lie: the largest, or some at random.

A [`Scope`] says over what a statistic or a selection is taken. The base class is this batch alone; a scope over all
processes overrides `sum` and `gather`. The chosen tokens are those that one process holding the whole batch would
choose: only counts and, for the largest, each part's own top travel, never a tensor of all tokens.
"""

from collections.abc import Callable

import torch


class Scope:
    """The tokens over which a statistic or a selection is taken: here, this batch alone.

    Attributes:
        rank: which part of the scope this process holds.
        generator: gives the generator of the next draw; every part of the scope must be given the same.
    """

    rank = 0

    def __init__(self, generator: Callable[[], torch.Generator] | None = None):
        self.generator = generator or torch.Generator

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """`values`, added up over the parts of the scope; same shape."""
        return values

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """`values` of every part, (parts, *shape)."""
        return values.unsqueeze(0)


def selection_count(ratio: float, tokens: int) -> int:
    """`max(1, floor(ratio * tokens))`, 0 when there is no token. Rounding of the product never loses a token.

    Raises:
        ValueError: for a ratio outside (0, 1].
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio={ratio} is not allowed; give a fraction in (0, 1], for example 0.002.")
    return max(1, int(ratio * tokens + 1e-9)) if tokens > 0 else 0


@torch.no_grad()
def take_largest(values: torch.Tensor, mask: torch.Tensor, count: int, scope: Scope) -> torch.Tensor:
    """The `count` largest of the counted values in scope, ties by position. (B, T), bool.

    Args:
        values: (B, T). A NaN counts as the largest.
        mask: (B, T), bool or 0/1; padding is never taken.
        count: how many, over the whole scope.
        scope: communication is a whole number and at most `count` floats a part.
    """
    mask = mask.bool()
    counted = values[mask]
    local = _top(counted, count)
    lengths = scope.gather(torch.tensor(len(local), device=counted.device))
    width = int(lengths.max())
    if width == 0:
        return torch.zeros_like(mask)
    tops = counted.new_full((width,), -torch.inf)
    tops[: len(local)] = counted[local]
    winners = _top(scope.gather(tops).flatten(), count)
    return _mark(mask, local[_own(winners, scope.rank * width, len(local))])


@torch.no_grad()
def take_at_random(candidates: torch.Tensor, count: int, scope: Scope) -> torch.Tensor:
    """`count` of the candidates in scope, uniform without replacement; all of them where they are fewer. (B, T), bool.

    Args:
        candidates: (B, T), bool.
        count: how many, over the whole scope.
        scope: its next generator draws; communication is one whole number a part.
    """
    counts = scope.gather(candidates.sum()).tolist()
    generator = scope.generator()
    chosen = torch.randperm(sum(counts), generator=generator, device=generator.device)[:count].sort().values
    return _mark(candidates, _own(chosen, sum(counts[: scope.rank]), counts[scope.rank]))


def _top(values: torch.Tensor, count: int) -> torch.Tensor:
    """Ordinals of the `count` largest of (N,) values, ties by position, in ascending order."""
    return values.argsort(descending=True, stable=True)[:count].sort().values


def _own(ordinals: torch.Tensor, start: int, length: int) -> torch.Tensor:
    """Those of a part that begins at `start`, counted from there."""
    return ordinals[(ordinals >= start) & (ordinals < start + length)] - start


def _mark(candidates: torch.Tensor, ordinals: torch.Tensor) -> torch.Tensor:
    """True at the candidates with these ordinals, counted row by row. (B, T), bool."""
    marked = torch.zeros_like(candidates)
    position = candidates.flatten().nonzero().squeeze(-1)[ordinals.to(candidates.device)]
    marked.view(-1)[position] = True
    return marked
