"""The arguments of entropy control: documented here once, validated by `config_checks` before anything loads."""

from dataclasses import dataclass, field
from typing import Literal, cast

from trl import GRPOConfig

from .config_checks import check


@dataclass
class EntropyGRPOConfig(GRPOConfig):
    r"""
    [`~trl.GRPOConfig`] plus entropy control. Every method is off at its default and on when its number is not zero:
    `siren_coef` for SIREN (arXiv 2509.25133), `clip_cov_ratio` for Clip-Cov, `kl_cov_ratio` for KL-Cov
    (arXiv 2505.22617). SIREN combines with either of the two; TRL's own `entropy_coef`, `use_adaptive_entropy`,
    `top_entropy_quantile` and `epsilon_high` keep their meaning and combine with all, except that KL-Cov opens PPO's
    clip: there `epsilon_high` acts only with `kl_cov_clip`.

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
        log_token_map (`int`, *optional*, defaults to `0`):
            Completions to keep a snapshot, with the figures of every token, in `token_map.jsonl`, for `trl-entropy
            report`. 0 keeps none. The file holds prompts and completions; `trl-entropy push` leaves it out.
        log_token_map_steps (`int`, *optional*, defaults to `25`):
            Optimizer steps between snapshots; the first step always is one.
        log_entropy_dynamics (`bool`, *optional*, defaults to `False`):
            Every so many optimizer steps, measure the entropy of the same tokens just before and just after the
            update, beside the covariance that predicts its change; logged as `dynamics/`, kept in
            `entropy_dynamics.jsonl`.
        log_entropy_dynamics_steps (`int`, *optional*, defaults to `25`):
            Optimizer steps between measurements; the first step always is one.
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
    log_token_map: int = field(
        default=0, metadata={"help": "Completions to keep a snapshot with the figures of every token. 0 keeps none."}
    )
    log_token_map_steps: int = field(default=25, metadata={"help": "Optimizer steps between those snapshots."})
    log_entropy_dynamics: bool = field(
        default=False,
        metadata={"help": "Measure what updates do to the entropy of the same tokens, now and then."},
    )
    log_entropy_dynamics_steps: int = field(
        default=25, metadata={"help": "Optimizer steps between those measurements."}
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
        check(self)

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
