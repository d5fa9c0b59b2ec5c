"""The settings that a run is compared with: those that its method was published with."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ..config import EntropyGRPOConfig
from ..methods import METHODS, Siren


# Arguments of TRL that a method's definition rests on; where the paper's settings do not name them, TRL's defaults
_DEFINING = ("epsilon_high", "delta", "importance_sampling_level", "top_entropy_quantile", "entropy_coef")


def published_settings(args: EntropyGRPOConfig) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """Where the method that is on was published, its settings there, and where the authors' code has others.

    Of several methods it is the first. Plain GRPO and the naive bonus are the baselines of SIREN's paper.
    """
    on = [method for method in METHODS if method.is_on(args) and method.published]
    method = on[0] if on else Siren
    own = {field.name: field.default for field in fields(method.Arguments)}
    default = {f.name: f.default for f in fields(EntropyGRPOConfig) if f.default is not MISSING}
    settings = {name: default[name] for name in (*_DEFINING, *own, "entropy_scope")} | dict(method.published)
    if not on:
        settings = {name: value for name, value in settings.items() if name not in own and name != "entropy_scope"}
        settings |= {"entropy_coef": 0.001 if args.entropy_coef else 0.0}
    paper = f", arXiv {method.paper.id}" if method.paper else ""
    name = method.name if on else f"the {'naive bonus' if args.entropy_coef else 'plain GRPO'} of {method.name}"
    return f"{name}{paper}", settings, method.authors_code if on else {}
