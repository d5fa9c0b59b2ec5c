"""Rewards and tools by name or dotted path, and whether the data can feed them."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .spelling import did_you_mean


if TYPE_CHECKING:
    from trl import GRPOConfig


def _trl_reward(name: str) -> Callable:
    import trl.rewards

    return getattr(trl.rewards, name)


def _overlong(max_completion_length: int) -> Callable:
    from trl.rewards import get_soft_overlong_punishment

    cache = max(1, max_completion_length // 5)
    return get_soft_overlong_punishment(max_completion_len=max_completion_length, soft_punish_cache=cache)


REWARDS: dict[str, Callable[["GRPOConfig"], Callable]] = {
    "math_reward": lambda _: imported("trl_entropy.rewards.math_reward"),
    "format_reward": lambda _: imported("trl_entropy.rewards.format_reward"),
    "countdown_reward": lambda _: imported("trl_entropy.tasks.countdown.countdown_reward"),
    "accuracy_reward": lambda _: _trl_reward("accuracy_reward"),
    "reasoning_accuracy_reward": lambda _: _trl_reward("reasoning_accuracy_reward"),
    "think_format_reward": lambda _: _trl_reward("think_format_reward"),
    "soft_overlong_punishment": lambda args: _overlong(args.max_completion_length or 0),
}
# What TRL hands to a reward function beside the dataset's columns
_HANDED = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")
_NOT_HANDED = ("prompt", "completion", "completion_ids")


def imported(path: str, argument: str = "reward_funcs") -> Callable:
    """The function at a dotted path, which may lead into the working directory.

    Raises:
        ValueError: when there is none, or something that cannot be called.
    """
    module, _, name = path.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ValueError(
            f"{argument}: {path!r} could not be imported ({type(error).__name__}: {error}). Give module.function, "
            "importable from here."
        ) from error
    if not callable(found):
        raise ValueError(f"{argument}: {path!r} is a {type(found).__name__}, not a function.")
    return found


def reward_function(name: str, args: "GRPOConfig") -> Callable:
    """A reward by name or dotted path; an unknown name lists the known ones."""
    if name in REWARDS:
        return REWARDS[name](args)
    if "." in name:
        return imported(name)
    raise ValueError(
        f"reward_funcs: {name!r} is not known.{did_you_mean(name, REWARDS)} Give {', '.join(REWARDS)}, or a dotted "
        "import path."
    )


def check_columns(columns: Iterable[str], rewards: Iterable[tuple[str, Callable]]) -> None:
    """Check that TRL can call every reward with the data's columns.

    Args:
        columns: names of the data's columns.
        rewards: name and function of each reward.

    Raises:
        ValueError: for a column named as TRL names an argument of its own, a reward whose argument no column has, one
            that takes no further arguments, and `math_reward` without a gold column.
    """
    from ..rewards import MathReward

    columns, rewards = list(columns), list(rewards)
    taken = [name for name in ("prompts", "completions") if name in columns]
    if taken and rewards:
        raise ValueError(
            f"The data has a column {taken[0]!r}, as TRL calls an argument of every reward. Rename the column."
        )
    there = f"the data has {', '.join(map(repr, columns))}"
    for name, function in rewards:
        if isinstance(function, MathReward) and not {"solution", "answer"} & set(columns):
            raise ValueError(
                f"{name} needs a column with the gold answers named solution or answer, and {there}. Set "
                "solution_column to the one that holds them."
            )
        try:
            inspect.signature(function).bind(**dict.fromkeys({*_HANDED, *columns} - set(_NOT_HANDED[:2])))
        except TypeError as error:
            raise ValueError(
                f"reward_funcs: {name} cannot be called ({error}). TRL hands it {', '.join(_HANDED)} and the columns "
                f"of the data by name ({there}): add the column, or let the function take **kwargs."
            ) from error
        except ValueError:  # a function that does not tell its signature
            continue
