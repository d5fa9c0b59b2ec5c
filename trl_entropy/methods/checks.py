"""What a configuration refuses, whatever the method: numbers out of range, settings without effect, contradictions."""

from dataclasses import fields
from itertools import combinations
from typing import Any

from . import CONTROLLERS, METHODS, coefficients, controllers_on, methods_on
from .base import Method, defaults, overrides
from .described import excluded


def check_methods(args: Any) -> None:
    """Raise `ValueError` with what was given, what is allowed and what to do."""
    for part in (*METHODS, *CONTROLLERS):
        check_ranges(args, part.Arguments)
    _check_inert(args)
    on = methods_on(args)
    _check_combination(args, on)
    for method in on:
        method.check(args)
    controllers = controllers_on(args)
    holding = [controller for controller in controllers if controller.answers]
    if len(holding) > 1:
        given = " and ".join(controller.switch for controller in holding)
        raise ValueError(
            f"{given} were both given, but they are two answers to {holding[0].answers}. Set one of them."
        )
    for controller in controllers:
        controller.check(args)


def check_controllers(args: Any, methods: tuple[type[Method] | Method, ...]) -> None:
    """Raise `ValueError` for a controller that has no coefficient to move in a run with these methods."""
    for controller in controllers_on(args):
        if controller.moves(args) and not coefficients(args, methods):
            raise ValueError(
                f"{controller.switch}={getattr(args, controller.switch)!r} has no coefficient to move: no method with "
                "a coefficient and no fixed entropy_coef is on. Turn one on (siren_coef, say), or leave "
                f"{controller.switch} out."
            )


def check_ranges(args: Any, arguments: type) -> None:
    """Every field of a dataclass of arguments against what it declares as allowed."""
    for field in fields(arguments):
        declared = field.metadata["help"]
        require(args, field.name, declared.allowed, declared.wanted, declared.paper)


def require(args: Any, name: str, allowed: Any, wanted: str, paper: Any = None) -> None:
    """Raise `ValueError` unless an argument has an allowed value."""
    value = getattr(args, name)
    try:
        fits = allowed(value)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        paper = "" if paper is None else f" (the paper: {paper})"
        raise ValueError(f"{name}={value!r} is not allowed; give {wanted}{paper}.")


def refuse_inert(args: Any, name: str, switch: str) -> None:
    """Raise `ValueError` for an argument that is set while the one that gives it a meaning is off."""
    default = {f.name: f.default for f in fields(args)}
    if getattr(args, name) != default[name] and getattr(args, switch) == default[switch]:
        raise ValueError(
            f"{name}={getattr(args, name)!r} was given but {switch} is not set, so it has no effect. Set {switch}, or "
            f"leave {name} out."
        )


def _check_inert(args: Any) -> None:
    """An argument counts only while one of the methods that declare it is on."""
    parts = (*METHODS, *CONTROLLERS)
    for name, default in {n: d for part in parts for n, d in defaults(part.Arguments).items()}.items():
        owners = [part for part in parts if name in defaults(part.Arguments)]
        if getattr(args, name) == default or any(owner.is_on(args) for owner in owners):
            continue
        switches = " or ".join(owner.switch for owner in owners)
        raise ValueError(
            f"{name}={getattr(args, name)!r} was given but {switches} is not set, so it has no effect. Set {switches} "
            f"to turn {' or '.join(owner.name for owner in owners)} on, or leave {name} out."
        )


def _check_combination(args: Any, on: tuple[Any, ...]) -> None:
    for first, second in combinations(on, 2):
        why = excluded(first, second)
        if why:
            given = " and ".join(f"{method.switch}={getattr(args, method.switch)}" for method in (first, second))
            raise ValueError(
                f"{given} were both given, but {why}. Set one of them; `trl-entropy methods` lists what combines."
            )
    replacing = [method for method in on if method.replaces(args)]
    if len(replacing) > 1:  # W-REINFORCE without a baseline, beside one that makes the advantages
        given = " and ".join(f"{method.switch}={getattr(args, method.switch)}" for method in replacing)
        raise ValueError(
            f"{given} were both given, but {replacing[-1].name} ignores the advantages of {replacing[0].name}. "
            'Set one of them; W-REINFORCE combines with the others through w_reinforce_baseline="group".'
        )
    if args.importance_sampling_level == "sequence":
        for method in (method for method in on if method.per_token):
            raise ValueError(
                f"{method.switch}={getattr(args, method.switch)} was given with importance_sampling_level='sequence'. "
                "One ratio for a whole sequence leaves no policy gradient of a single token to weigh or remove. Set "
                f"importance_sampling_level='token', or leave {method.switch} out."
            )
    if args.multi_objective_aggregation != "sum_then_normalize":
        for method in (method for method in on if overrides(method, "group_advantages")):
            raise ValueError(
                f"{method.switch} was given with multi_objective_aggregation={args.multi_objective_aggregation!r}, "
                f"where a completion has no single reward. Set it to 'sum_then_normalize', or leave "
                f"{method.switch} out."
            )
