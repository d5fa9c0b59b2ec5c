"""The configuration: TRL's, the methods' and controllers' arguments, and the few that no method owns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, cast

from trl import GRPOConfig

from .methods import ARGUMENTS, METHODS, Method, argument, methods_on
from .methods.checks import check_controllers, check_methods, check_ranges, refuse_inert


def _whole(least: int):
    return lambda x: x >= least and x == int(x)


@dataclass
class OwnArguments:
    """What no method owns."""

    entropy_scope: Literal["batch", "micro_batch"] = argument(
        "batch",
        "`batch`: one statistic and one selection over all micro-batches and processes, whatever the split. "
        "`micro_batch`: each micro-batch of each process on its own, as in the authors' code.",
        lambda x: x in ("batch", "micro_batch"),
        '"batch" or "micro_batch"',
    )
    log_entropy_details: bool = argument(
        False,
        "Log the entropy's quantiles and its split by the advantage's sign for plain GRPO too. They are always logged "
        "when a method is on.",
    )
    log_token_map: int = argument(
        0,
        "Completions to keep a snapshot, with the numbers of every token, in `token_map.jsonl`, for `trl-entropy "
        "report`. 0 keeps none. The file holds prompts and completions; `trl-entropy push` leaves it out.",
        _whole(0),
        "a whole number >= 0",
    )
    log_token_map_steps: int = argument(
        25, "Optimizer steps between snapshots; the first step always is one.", _whole(1), "a whole number >= 1"
    )
    log_entropy_dynamics: bool = argument(
        False,
        "Every so many optimizer steps, measure the entropy of the same tokens just before and just after the update, "
        "beside the covariance that predicts its change; logged as `dynamics/`, kept in `entropy_dynamics.jsonl`.",
    )
    log_entropy_dynamics_steps: int = argument(
        25, "Optimizer steps between measurements; the first step always is one.", _whole(1), "a whole number >= 1"
    )
    reward_timeout: float | None = argument(
        None,
        "Seconds after which a call of a reward function counts as failed, which ends the run on all processes. "
        "Unset, it waits for ever.",
        lambda x: x is None or 0 < x < float("inf"),
        "seconds > 0, or null",
    )


@dataclass
class EntropyGRPOConfig(OwnArguments, *ARGUMENTS, GRPOConfig):
    r"""
    [`~trl.GRPOConfig`] plus entropy control. Every method and controller is off at its default: `docs/methods.md` has
    a table of all arguments, with what is allowed and the papers' values; each is declared in the file of its method.

    TRL's own `entropy_coef`, `use_adaptive_entropy`, `top_entropy_quantile` and `epsilon_high` keep their meaning and
    combine with all methods, except that KL-Cov opens PPO's clip: there `epsilon_high` acts only with `kl_cov_clip`.

    Raises:
        ValueError: for a number out of range, settings that contradict each other or would have no effect.
    """

    def __post_init__(self):
        super().__post_init__()
        check_ranges(self, OwnArguments)
        refuse_inert(self, "log_token_map_steps", "log_token_map")
        refuse_inert(self, "log_entropy_dynamics_steps", "log_entropy_dynamics")
        check_methods(self)

    def check_with(self, own: Sequence[Method] = ()) -> None:
        """What can be said only when the methods are known that no argument switches on.

        Args:
            own: those that the trainer is given.

        Raises:
            ValueError: for two methods of one key, a controller without a coefficient to move, or a scope that nothing
                reads.
        """
        methods = (*methods_on(self), *own)
        check_controllers(self, methods)
        keys = [method.key for method in methods]
        if len(keys) != len(set(keys)):
            raise ValueError(f"The methods are {', '.join(keys)}: each may be given once.")
        if self.entropy_scope != "batch" and not keys:
            raise ValueError(
                f"entropy_scope={self.entropy_scope!r} was given but no method is on, so it has no effect. Turn a "
                f"method on ({', '.join(method.switch for method in METHODS)}), or leave entropy_scope out."
            )

    @property
    def entropy_methods(self) -> tuple[str, ...]:
        """Names of the methods that are on, in the order in which they act."""
        return tuple(method.name for method in methods_on(self))

    @property
    def strictly_on_policy(self) -> bool:
        """Whether the policy never moves between a generation and its last use (TRL's default)."""
        return self.gradient_accumulation_steps % (cast(int, self.steps_per_generation) * self.num_iterations) == 0


def own_arguments() -> tuple[str, ...]:
    """Names of the arguments that `EntropyGRPOConfig` adds to TRL's."""
    trl = {f.name for f in fields(GRPOConfig)}
    return tuple(f.name for f in fields(EntropyGRPOConfig) if f.name not in trl)
