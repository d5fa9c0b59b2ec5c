"""A generation batch of all processes by prompt: rewards, advantages, and which prompts have a gradient."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..functional.aggregate import masked_sum
from ..functional.selection import Scope
from ..methods import Group, Method


def combined_rewards(per_function: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted sum of the reward functions, (N, F) to (N,); NaN where no function gave one."""
    rewards = (per_function * weights.to(per_function.device)).nansum(1)
    return rewards.masked_fill(per_function.isnan().all(1), torch.nan)


def group_of(
    rewards: torch.Tensor,
    advantages: torch.Tensor,
    size: int,
    scored: Mapping[str, torch.Tensor] | None,
    mask: torch.Tensor,
    scope: Scope,
) -> Group:
    """The batch of all processes, (P, N) each.

    Args:
        rewards: (P * N,), of all processes in their order, as TRL gathers them.
        advantages: (B,), this process's.
        size: N.
        scored: this process's `logps` (B, T), where a method reads them.
        mask: (B, T), their tokens that count.
        scope: all processes.
    """

    logps = (scored or {}).get("logps")

    def by_prompt(values: torch.Tensor) -> torch.Tensor:
        return scope.gather(values).reshape(-1, size)

    return Group(
        rewards.view(-1, size),
        by_prompt(advantages),
        None if logps is None else by_prompt(masked_sum(logps, mask, -1)),
        None if logps is None else by_prompt(mask.sum(-1)),
    )


def own_rows(values: torch.Tensor, rows: int, rank: int) -> torch.Tensor:
    """Of values (P, N) of all processes, the `rows` completions that lie on this one: (rows,)."""
    return values.reshape(-1)[rank * rows : (rank + 1) * rows]


def reshaped(methods: Iterable[Method], group: Group) -> torch.Tensor:
    """The advantages (P, N) after every method has had its say; 0 where a completion has no reward."""
    for method in methods:
        group.advantages = method.group_advantages(group).masked_fill(group.rewards.isnan(), 0.0)
    return group.advantages


def relog(logged: Any, advantages: torch.Tensor) -> None:
    """Replace the last entries of TRL's log of advantages, which it has written by then."""
    everywhere = advantages.flatten().tolist()
    for place, advantage in enumerate(everywhere, start=len(logged) - len(everywhere)):
        logged[place] = advantage
