"""The arguments of entropy control: documented once, validated before anything is loaded."""

import math
import warnings
from dataclasses import dataclass, field, fields
from typing import Literal, cast

from trl import GRPOConfig


@dataclass
class EntropyGRPOConfig(GRPOConfig):
    r"""
    [`~trl.GRPOConfig`] plus entropy control. Every method is off at its default and on when its number is not zero:
    `siren_coef` for SIREN (arXiv 2509.25133), `clip_cov_ratio` for Clip-Cov, `kl_cov_ratio` for KL-Cov
    (arXiv 2505.22617). SIREN combines with either of the two; TRL's own `entropy_coef`, `use_adaptive_entropy`,
    `top_entropy_quantile` and `epsilon_high` keep their meaning and combine with all.

    Parameters:
        siren_coef (`float`, *optional*, defaults to `0.0`):
            beta of `beta * (H - anchor)^2`, where H is the nucleus entropy of the peak-entropy tokens. The paper uses
            0.005; a small model with few updates needs 0.3 to 1.
        siren_top_p (`float`, *optional*, defaults to `0.8`):
            Mass p of the nucleus in which entropy is measured, in (0, 1].
        siren_quantile (`float`, *optional*, defaults to `0.8`):
            tau in [0, 1): the tokens of a completion above its own tau-quantile of nucleus entropy are regularized. 0
            regularizes every token.
        siren_nucleus (`str`, *optional*, defaults to `"inclusive"`):
            `"inclusive"`: the word that crosses p belongs to the nucleus. `"exclusive"`: it is dropped, as in the
            authors' code, where a fork between two words that hold p together gets no gradient.
        siren_anchor (`float`, *optional*):
            Entropy to hold, in nats. `None` measures it on the first optimizer step, which is the initial policy's.
        siren_penalty (`str`, *optional*, defaults to `"two_sided"`):
            `"two_sided"` also pulls entropy down to the anchor; `"lower"` acts only below it.
        clip_cov_ratio (`float`, *optional*, defaults to `0.0`):
            Share of all tokens, drawn from the covariance band, whose policy gradient is set to zero. The paper uses
            2e-4 with `epsilon=1.0`.
        clip_cov_low (`float`, *optional*, defaults to `1.0`):
            Lower end of the covariance band. Tuned for advantages divided by the group's standard deviation.
        clip_cov_high (`float`, *optional*, defaults to `5.0`):
            Upper end of the covariance band.
        kl_cov_ratio (`float`, *optional*, defaults to `0.0`):
            Share of all tokens, those of largest covariance, that pay a penalty for moving. A fraction: the paper uses
            2e-3 (7B) and 2e-4 (32B).
        kl_cov_coef (`float`, *optional*, defaults to `1.0`):
            Coefficient of `|logp - old_logp|` on those tokens.
        kl_cov_clip (`bool`, *optional*, defaults to `False`):
            Keep PPO's clip together with KL-Cov. By default KL-Cov opens it, as the paper does.
        entropy_scope (`str`, *optional*, defaults to `"batch"`):
            `"batch"`: one statistic and one selection over all micro-batches and processes, whatever the split.
            `"micro_batch"`: each micro-batch of each process on its own, as in the authors' code.
        log_entropy_details (`bool`, *optional*, defaults to `False`):
            Log the entropy's quantiles and its split by the advantage's sign for plain GRPO too. They are always
            logged when a method is on.
        entropy_guard (`str`, *optional*):
            What to do when the mean token entropy of an optimizer step leaves the bounds below. `"stop"`: save a
            checkpoint and end the run. `"lower"`: halve the coefficients of the entropy terms that push it further
            out, step by step, until it is back. `None`: nothing.
        entropy_guard_low (`float`, *optional*):
            Lower bound, nats: below it the policy has collapsed.
        entropy_guard_high (`float`, *optional*):
            Upper bound, nats: above it entropy has exploded.
        reward_timeout (`float`, *optional*):
            Seconds after which a call of a reward function counts as failed, which ends the run on all processes.
            `None` waits for ever.
    """

    siren_coef: float = field(
        default=0.0, metadata={"help": "SIREN: coefficient of the anchored entropy penalty. 0 turns SIREN off."}
    )
    siren_top_p: float = field(
        default=0.8, metadata={"help": "SIREN: mass of the nucleus in which entropy is measured, in (0, 1]."}
    )
    siren_quantile: float = field(
        default=0.8,
        metadata={"help": "SIREN: regularize the tokens above this quantile of their completion, in [0, 1)."},
    )
    siren_nucleus: Literal["inclusive", "exclusive"] = field(
        default="inclusive", metadata={"help": "SIREN: whether the word that crosses `siren_top_p` is in the nucleus."}
    )
    siren_anchor: float | None = field(
        default=None,
        metadata={"help": "SIREN: entropy to hold, in nats. Measured on the first optimizer step if unset."},
    )
    siren_penalty: Literal["two_sided", "lower"] = field(
        default="two_sided", metadata={"help": "SIREN: pull to the anchor from both sides, or only from below it."}
    )
    clip_cov_ratio: float = field(
        default=0.0,
        metadata={"help": "Clip-Cov: share of tokens whose policy gradient is set to zero. 0 turns it off."},
    )
    clip_cov_low: float = field(default=1.0, metadata={"help": "Clip-Cov: lower end of the covariance band."})
    clip_cov_high: float = field(default=5.0, metadata={"help": "Clip-Cov: upper end of the covariance band."})
    kl_cov_ratio: float = field(
        default=0.0,
        metadata={"help": "KL-Cov: share of tokens, those of largest covariance, to penalize. 0 turns it off."},
    )
    kl_cov_coef: float = field(default=1.0, metadata={"help": "KL-Cov: coefficient of the penalty on those tokens."})
    kl_cov_clip: bool = field(
        default=False, metadata={"help": "KL-Cov: keep PPO's clip. Off, the clip is opened, as in the paper."}
    )
    entropy_scope: Literal["batch", "micro_batch"] = field(
        default="batch",
        metadata={"help": "Statistics and selections over the whole batch and all processes, or per micro-batch."},
    )
    log_entropy_details: bool = field(
        default=False, metadata={"help": "Log entropy quantiles and the split by advantage sign for plain GRPO too."}
    )

    entropy_guard: Literal["stop", "lower"] | None = field(
        default=None, metadata={"help": "What to do when entropy leaves the bounds: stop, or lower the coefficients."}
    )
    entropy_guard_low: float | None = field(default=None, metadata={"help": "Guard: lower bound of entropy, in nats."})
    entropy_guard_high: float | None = field(
        default=None, metadata={"help": "Guard: upper bound of entropy, in nats."}
    )
    reward_timeout: float | None = field(
        default=None, metadata={"help": "Seconds after which a call of a reward function counts as failed."}
    )

    def __post_init__(self):
        super().__post_init__()
        self._check_ranges()
        self._check_methods()
        self._check_guard()
        self._check_settings_without_effect()

    @property
    def siren(self) -> bool:
        """Whether SIREN is on."""
        return self.siren_coef != 0.0

    @property
    def clip_cov(self) -> bool:
        """Whether Clip-Cov is on."""
        return self.clip_cov_ratio != 0.0

    @property
    def kl_cov(self) -> bool:
        """Whether KL-Cov is on."""
        return self.kl_cov_ratio != 0.0

    @property
    def entropy_methods(self) -> tuple[str, ...]:
        """Names of the methods that are on, in the order of the arguments."""
        switches = {"SIREN": self.siren, "Clip-Cov": self.clip_cov, "KL-Cov": self.kl_cov}
        return tuple(name for name, on in switches.items() if on)

    @property
    def strictly_on_policy(self) -> bool:
        """Whether the policy never moves between a generation and its last use (TRL's default)."""
        return self.gradient_accumulation_steps % (cast(int, self.steps_per_generation) * self.num_iterations) == 0

    def _check_ranges(self):
        _require(self, "siren_coef", lambda x: 0 <= x < math.inf, "a finite number >= 0 (the paper: 0.005)")
        _require(self, "siren_top_p", lambda x: 0 < x <= 1, "a number in (0, 1] (the paper: 0.8)")
        _require(self, "siren_quantile", lambda x: 0 <= x < 1, "a number in [0, 1) (the paper: 0.8)")
        _require(self, "siren_nucleus", lambda x: x in ("inclusive", "exclusive"), '"inclusive" or "exclusive"')
        _require(self, "siren_anchor", lambda x: x is None or 0 <= x < math.inf, "nats >= 0, or null to measure it")
        _require(self, "siren_penalty", lambda x: x in ("two_sided", "lower"), '"two_sided" or "lower"')
        _require(self, "clip_cov_ratio", lambda x: 0 <= x < 1, "a fraction in [0, 1) (the paper: 0.0002)")
        _require(self, "clip_cov_low", lambda x: math.isfinite(x), "a finite number (the paper: 1.0)")
        _require(
            self, "clip_cov_high", lambda x: x > self.clip_cov_low, "a number above clip_cov_low (the paper: 5.0)"
        )
        _require(self, "kl_cov_ratio", lambda x: 0 <= x < 1, "a fraction in [0, 1) (the paper: 0.002)")
        _require(self, "kl_cov_coef", lambda x: 0 < x < math.inf, "a finite number > 0 (the paper: 1.0)")
        _require(self, "entropy_scope", lambda x: x in ("batch", "micro_batch"), '"batch" or "micro_batch"')

        _require(self, "entropy_guard", lambda x: x in (None, "stop", "lower"), '"stop", "lower" or null')
        nats = "nats >= 0, or null for no bound"
        _require(self, "entropy_guard_low", lambda x: x is None or 0 <= x < math.inf, nats)
        _require(
            self,
            "entropy_guard_high",
            lambda x: x is None or (self.entropy_guard_low or 0) < x < math.inf,
            f"{nats}, above entropy_guard_low",
        )
        _require(self, "reward_timeout", lambda x: x is None or 0 < x < math.inf, "seconds > 0, or null")

    def _check_guard(self):
        bounds = {n: getattr(self, n) for n in ("entropy_guard_low", "entropy_guard_high")}
        given = [f"{name}={value}" for name, value in bounds.items() if value is not None]
        if self.entropy_guard is None and given:
            raise ValueError(
                f"{' and '.join(given)} was given but entropy_guard is not set, so it has no effect. Set "
                'entropy_guard="stop" or "lower", or leave it out.'
            )
        if self.entropy_guard and not given:
            raise ValueError(
                f'entropy_guard="{self.entropy_guard}" has no bound to guard. Set entropy_guard_low, '
                "entropy_guard_high, or both, in nats (siren/entropy and entropy are logged: see where they move)."
            )
        pushes = self.siren or (self.entropy_coef != 0 and not self.use_adaptive_entropy)
        if self.entropy_guard == "lower" and not pushes:
            raise ValueError(
                'entropy_guard="lower" has no coefficient to lower: neither siren_coef nor a fixed entropy_coef is '
                'set. Turn one on, or set entropy_guard="stop".'
            )

    def _check_methods(self):
        if self.clip_cov and self.kl_cov:
            raise ValueError(
                f"clip_cov_ratio={self.clip_cov_ratio} and kl_cov_ratio={self.kl_cov_ratio} were both given. They are "
                "two answers to the same tokens; set one of them to 0. Either combines with SIREN."
            )
        if self.kl_cov and self.strictly_on_policy:
            raise ValueError(
                f"kl_cov_ratio={self.kl_cov_ratio} has no effect while updates are strictly on-policy: the policy has "
                "not moved, so |logp - old_logp| is 0. Set steps_per_generation (now "
                f"{self.steps_per_generation}) to more than gradient_accumulation_steps (now "
                f"{self.gradient_accumulation_steps}), or num_iterations (now {self.num_iterations}) to 2 or more."
            )
        if self.clip_cov and self.importance_sampling_level == "sequence":
            raise ValueError(
                f"clip_cov_ratio={self.clip_cov_ratio} was given with importance_sampling_level='sequence'. One ratio "
                "for a whole sequence leaves no policy gradient of a single token to remove. Set "
                "importance_sampling_level='token', or use kl_cov_ratio or siren_coef, which work with both."
            )
        if self.clip_cov and self.scale_rewards == "none" and self.clip_cov_low >= 1:
            warnings.warn(
                f"clip_cov_low={self.clip_cov_low} was tuned for advantages divided by the group's standard "
                "deviation; with scale_rewards='none' hardly a token reaches it. Lower clip_cov_low (0.1 to 0.5), or "
                "set scale_rewards='group'. Watch cov/max and cov/selected_share."
            )
        if self.kl_cov and not self.kl_cov_clip and self.loss_type not in _UNCLIPPED_LOSSES:
            given = {"epsilon": self.epsilon, "epsilon_high": self.epsilon_high}
            default = {f.name: f.default for f in fields(GRPOConfig)}
            for name in (n for n, value in given.items() if value != default[n]):
                warnings.warn(
                    f"{name}={given[name]} has no effect: KL-Cov opens PPO's clip, as its paper does. Set "
                    f"kl_cov_clip=True to keep the clip, or leave {name} out."
                )

    def _check_settings_without_effect(self):
        default = {f.name: f.default for f in fields(type(self))}
        switches = {"siren": "siren_coef", "clip_cov": "clip_cov_ratio", "kl_cov": "kl_cov_ratio"}
        for method, switch in switches.items():
            if getattr(self, method):
                continue
            for name in (n for n in default if n.startswith(f"{method}_") and getattr(self, n) != default[n]):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} was given but {switch} is 0, so it has no effect. Set {switch} "
                    f"to turn the method on, or leave {name} out."
                )
        if self.entropy_scope != "batch" and not self.entropy_methods:
            raise ValueError(
                f"entropy_scope={self.entropy_scope!r} was given but no method is on, so it has no effect. Set "
                f"{', '.join(switches.values())}, or leave entropy_scope out."
            )
        if self.kl_cov_clip and self.loss_type in _UNCLIPPED_LOSSES:
            raise ValueError(
                f"kl_cov_clip=True was given but loss_type={self.loss_type!r} has no PPO clip to keep. Leave "
                "kl_cov_clip out, or choose another loss_type."
            )


_UNCLIPPED_LOSSES = ("sapo", "vespo")


def _require(config: EntropyGRPOConfig, name: str, allowed, wanted: str):
    value = getattr(config, name)
    try:
        fits = allowed(value)
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(f"{name}={value!r} is not allowed; give {wanted}.")
