"""Values of TRL's arguments that TRL itself refuses only in the middle of a run."""

import math
from collections.abc import Mapping

from transformers.integrations import get_reporting_integration_callbacks
from trl import GRPOConfig

from ..evaluate.preflight import first_line
from .spelling import did_you_mean


# TRL declares these as any text, and compares it at the first loss
WORDS: Mapping[str, tuple[str, ...]] = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "scale_rewards": ("group", "batch", "none"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "vllm_mode": ("colocate", "server"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}


def check_trl_values(args: GRPOConfig, rewards: int) -> None:
    """Raise `ValueError` for a word or number that would end the run after its model has loaded.

    Args:
        args: the training arguments.
        rewards: number of rewards, reward model included.
    """
    for name, words in WORDS.items():
        value = getattr(args, name)
        if value not in words and not (name == "scale_rewards" and isinstance(value, bool)):
            raise ValueError(
                f"{name}={value!r} is not known; give {', '.join(words)}.{did_you_mean(str(value), words)}"
            )
    if not 0 < args.temperature < math.inf:
        raise ValueError(
            f"temperature={args.temperature} is not allowed: the completions of a group must differ. Give a finite "
            "number above 0 (1.0 is usual)."
        )
    _trackers(args)
    weights = args.reward_weights
    if weights is not None and len(weights) != rewards:
        raise ValueError(
            f"reward_weights has {len(weights)} number(s), but there are {rewards} reward(s), a reward model first. "
            "Give one for each, or leave it out."
        )


def check_trackers(args: GRPOConfig) -> None:
    """Raise `ValueError` for a tracker in `report_to` that is not installed here."""
    for callback in _trackers(args):
        try:
            callback()
        except (RuntimeError, ImportError, AssertionError) as error:
            raise ValueError(
                f"report_to={args.report_to} cannot be used here: {first_line(error)}. Or set report_to: none."
            ) from error


def _trackers(args: GRPOConfig) -> list:
    return get_reporting_integration_callbacks(args.report_to)  # ValueError with the known ones
