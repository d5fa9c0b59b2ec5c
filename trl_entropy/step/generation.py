"""What the methods do once a generation is scored, over all processes."""

from collections.abc import Mapping
from typing import Any

import torch

from .. import metrics
from ..functional.covariance import per_token
from ..methods import Group, Method, Micro, View, overrides
from .batch import clean_padding, token_mask
from .prompts import own_rows, reshaped
from .scope import Everywhere
from .window import StepWindow


INFORMATIVE = "entropy_informative"  # (B, 1) bool, travels with the batch


def act_on_generation(
    methods: tuple[Method, ...],
    args: Any,
    output: dict[str, Any],
    group: Group,
    scored: Mapping[str, torch.Tensor],
    scope: Everywhere,
) -> dict[str, float]:
    """Let every method see and change a generation; returns what is logged.

    Args:
        methods: the run's, in the order in which they act.
        args: the trainer's.
        output: this process's batch as TRL made it; gets the methods' advantages, and what they select by name.
        group: the batch of all processes by prompt.
        scored: what was read off the scoring forward, (B, T) each.
        scope: all processes.
    """
    mask = token_mask(output)
    if any(overrides(method, "group_advantages") for method in methods):
        everywhere = reshaped(methods, group)
        output["advantages"] = own_rows(everywhere, len(mask), scope.rank).to(output["advantages"].dtype)
    advantages = per_token(output["advantages"], mask)
    with_gradient = (group.advantages != 0).any(1, keepdim=True)
    totals = _over_processes(scope, metrics.mass_sums(advantages, mask))
    numbers = metrics.mass_metrics(totals, with_gradient.float().mean().item())
    if not methods:
        return numbers
    informative = own_rows(with_gradient.expand_as(group.advantages), len(mask), scope.rank).unsqueeze(-1)
    output[INFORMATIVE] = informative
    view = View(advantages, mask, mask & informative, scored)
    for method in methods:
        method.generated(view, scope)
        if args.entropy_scope == "batch":
            chosen = method.select(view, scope)
            output.update({f"{method.key}/{name}": value for name, value in chosen.items()})
            if overrides(method, "selection_sums"):
                totals = _over_processes(scope, *method.selection_sums(view, chosen))
                numbers |= method.close_selection(totals)
    return numbers


def micro_of(inputs: dict[str, Any], moved: bool) -> Micro:
    """A micro-batch as TRL's loss receives it, with what the methods selected when it was generated."""
    mask = token_mask(inputs)
    informative = mask & inputs[INFORMATIVE] if INFORMATIVE in inputs else mask
    micro = Micro(clean_padding(inputs), mask, per_token(inputs["advantages"], mask), informative, moved)
    for key, value in inputs.items():
        method, _, name = key.partition("/")
        if name:
            micro.chosen.setdefault(method, {})[name] = value
    return micro


def _over_processes(scope: Everywhere, sums, maxima=None) -> dict[str, float]:
    window = StepWindow()
    window.add("", sums, maxima)
    return window.close(scope.accelerator)[""]
