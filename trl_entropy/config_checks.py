"""What an [`EntropyGRPOConfig`] refuses, and why: bad numbers, contradictions, settings that would have no effect."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields
from typing import TYPE_CHECKING

from transformers.trainer_utils import HubStrategy
from trl import GRPOConfig


if TYPE_CHECKING:
    from .config import EntropyGRPOConfig

_UNCLIPPED_LOSSES = ("sapo", "vespo")


def check(config: EntropyGRPOConfig) -> None:
    """Raise `ValueError` with what was given, what is allowed and what to do; warn where a setting is only unusual."""
    _check_ranges(config)
    _check_methods(config)
    _check_guard(config)
    _check_settings_without_effect(config)


def _check_ranges(config: EntropyGRPOConfig) -> None:
    _require(config, "siren_coef", lambda x: 0 <= x < math.inf, "a finite number >= 0 (the paper: 0.005)")
    _require(config, "siren_top_p", lambda x: 0 < x <= 1, "a number in (0, 1] (the paper: 0.8)")
    _require(config, "siren_quantile", lambda x: 0 <= x < 1, "a number in [0, 1) (the paper: 0.8)")
    _require(config, "siren_nucleus", lambda x: x in ("inclusive", "exclusive"), '"inclusive" or "exclusive"')
    _require(config, "siren_anchor", lambda x: x is None or 0 <= x < math.inf, "nats >= 0, or null to measure it")
    _require(config, "siren_penalty", lambda x: x in ("two_sided", "lower"), '"two_sided" or "lower"')
    _require(config, "clip_cov_ratio", lambda x: 0 <= x < 1, "a fraction in [0, 1) (the paper: 0.0002)")
    _require(config, "clip_cov_low", lambda x: math.isfinite(x), "a finite number (the paper: 1.0)")
    _require(
        config, "clip_cov_high", lambda x: x > config.clip_cov_low, "a number above clip_cov_low (the paper: 5.0)"
    )
    _require(config, "kl_cov_ratio", lambda x: 0 <= x < 1, "a fraction in [0, 1) (the paper: 0.002)")
    _require(config, "kl_cov_coef", lambda x: 0 < x < math.inf, "a finite number > 0 (the paper: 1.0)")
    _require(config, "entropy_scope", lambda x: x in ("batch", "micro_batch"), '"batch" or "micro_batch"')

    _require(config, "entropy_guard", lambda x: x in (None, "stop", "lower"), '"stop", "lower" or null')
    nats = "nats >= 0, or null for no bound"
    _require(config, "entropy_guard_low", lambda x: x is None or 0 <= x < math.inf, nats)
    _require(
        config,
        "entropy_guard_high",
        lambda x: x is None or (config.entropy_guard_low or 0) < x < math.inf,
        f"{nats}, above entropy_guard_low",
    )
    _require(config, "log_token_map", lambda x: x >= 0 and x == int(x), "a whole number >= 0")
    _require(config, "log_token_map_steps", lambda x: x >= 1 and x == int(x), "a whole number >= 1")
    _require(config, "log_entropy_dynamics_steps", lambda x: x >= 1 and x == int(x), "a whole number >= 1")
    _require(config, "reward_timeout", lambda x: x is None or 0 < x < math.inf, "seconds > 0, or null")


def _check_guard(config: EntropyGRPOConfig) -> None:
    bounds = {n: getattr(config, n) for n in ("entropy_guard_low", "entropy_guard_high")}
    given = [f"{name}={value}" for name, value in bounds.items() if value is not None]
    if config.entropy_guard is None and given:
        raise ValueError(
            f"{' and '.join(given)} was given but entropy_guard is not set, so it has no effect. Set "
            'entropy_guard="stop" or "lower", or leave it out.'
        )
    if config.entropy_guard and not given:
        raise ValueError(
            f'entropy_guard="{config.entropy_guard}" has no bound to guard. Set entropy_guard_low, '
            "entropy_guard_high, or both, in nats (siren/entropy and entropy are logged: see where they move)."
        )
    pushes = config.siren or (config.entropy_coef != 0 and not config.use_adaptive_entropy)
    if config.entropy_guard == "lower" and not pushes:
        raise ValueError(
            'entropy_guard="lower" has no coefficient to lower: neither siren_coef nor a fixed entropy_coef is '
            'set. Turn one on, or set entropy_guard="stop".'
        )


def _check_methods(config: EntropyGRPOConfig) -> None:
    if config.clip_cov and config.kl_cov:
        raise ValueError(
            f"clip_cov_ratio={config.clip_cov_ratio} and kl_cov_ratio={config.kl_cov_ratio} were both given. They are "
            "two answers to the same tokens; set one of them to 0. Either combines with SIREN."
        )
    if config.kl_cov and config.strictly_on_policy:
        raise ValueError(
            f"kl_cov_ratio={config.kl_cov_ratio} has no effect while updates are strictly on-policy: the policy has "
            "not moved, so |logp - old_logp| is 0. Set steps_per_generation (now "
            f"{config.steps_per_generation}) to more than gradient_accumulation_steps (now "
            f"{config.gradient_accumulation_steps}) - where generation_batch_size is set, raise that instead - or "
            f"num_iterations (now {config.num_iterations}) to 2 or more."
        )
    opened = config.kl_cov and not config.kl_cov_clip and config.loss_type not in _UNCLIPPED_LOSSES
    if opened and config.delta is not None:
        raise ValueError(
            f"delta={config.delta} was given with KL-Cov, which opens PPO's clip: delta would then bound tokens of "
            "positive advantage and leave the others alone. Set kl_cov_clip=True to keep the clip, or leave delta out."
        )
    if config.clip_cov and config.importance_sampling_level == "sequence":
        raise ValueError(
            f"clip_cov_ratio={config.clip_cov_ratio} was given with importance_sampling_level='sequence'. One ratio "
            "for a whole sequence leaves no policy gradient of a single token to remove. Set "
            "importance_sampling_level='token', or use kl_cov_ratio or siren_coef, which work with both."
        )
    if config.clip_cov and config.scale_rewards == "none" and config.clip_cov_low >= 1:
        warnings.warn(
            f"clip_cov_low={config.clip_cov_low} was tuned for advantages divided by the group's standard "
            "deviation; with scale_rewards='none' hardly a token reaches it. Lower clip_cov_low (0.1 to 0.5), or "
            "set scale_rewards='group'. Watch cov/max and cov/selected_share."
        )
    if opened:
        given = {"epsilon": config.epsilon, "epsilon_high": config.epsilon_high}
        default = {f.name: f.default for f in fields(GRPOConfig)}
        for name in (n for n, value in given.items() if value != default[n]):
            warnings.warn(
                f"{name}={given[name]} has no effect: KL-Cov opens PPO's clip, as its paper does. Set "
                f"kl_cov_clip=True to keep the clip, or leave {name} out."
            )


def _check_settings_without_effect(config: EntropyGRPOConfig) -> None:
    default = {f.name: f.default for f in fields(type(config))}
    switches = {"siren": "siren_coef", "clip_cov": "clip_cov_ratio", "kl_cov": "kl_cov_ratio"}
    for method, switch in switches.items():
        if getattr(config, method):
            continue
        for name in (n for n in default if n.startswith(f"{method}_") and getattr(config, n) != default[n]):
            raise ValueError(
                f"{name}={getattr(config, name)!r} was given but {switch} is 0, so it has no effect. Set {switch} "
                f"to turn the method on, or leave {name} out."
            )
    if config.log_token_map_steps != default["log_token_map_steps"] and not config.log_token_map:
        raise ValueError(
            f"log_token_map_steps={config.log_token_map_steps} was given but log_token_map is 0, so it has no effect. "
            "Set log_token_map to the number of completions to keep, or leave log_token_map_steps out."
        )
    steps = config.log_entropy_dynamics_steps
    if steps != default["log_entropy_dynamics_steps"] and not config.log_entropy_dynamics:
        raise ValueError(
            f"log_entropy_dynamics_steps={steps} was given but log_entropy_dynamics is off, so it has no effect. Set "
            "log_entropy_dynamics=True to measure, or leave log_entropy_dynamics_steps out."
        )
    if config.log_token_map and config.push_to_hub and config.hub_strategy != "end":
        warnings.warn(
            f"hub_strategy={HubStrategy(config.hub_strategy).value!r} uploads the run's folder while it trains, and "
            "with log_token_map it holds prompts and completions. Set hub_private_repo=True, or hub_strategy='end', "
            "which leaves them out."
        )
    if config.siren and config.max_completion_length == 1 and config.siren_quantile > 0:
        raise ValueError(
            "siren_coef was given with max_completion_length=1: a single token never lies above its own completion's "
            "quantile, so SIREN has no effect. Set siren_quantile=0, or allow longer completions."
        )
    if config.siren and config.siren_penalty == "lower" and config.siren_anchor == 0:
        raise ValueError(
            'siren_anchor=0 with siren_penalty="lower" has no effect: entropy is never below 0. Leave siren_anchor '
            "out to measure it."
        )
    if config.entropy_scope != "batch" and not config.entropy_methods:
        raise ValueError(
            f"entropy_scope={config.entropy_scope!r} was given but no method is on, so it has no effect. Set "
            f"{', '.join(switches.values())}, or leave entropy_scope out."
        )
    if config.kl_cov_clip and config.loss_type in _UNCLIPPED_LOSSES:
        raise ValueError(
            f"kl_cov_clip=True was given but loss_type={config.loss_type!r} has no PPO clip to keep. Leave "
            "kl_cov_clip out, or choose another loss_type."
        )


def _require(config: EntropyGRPOConfig, name: str, allowed, wanted: str):
    value = getattr(config, name)
    try:
        fits = allowed(value)
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(f"{name}={value!r} is not allowed; give {wanted}.")
