"""A reward for data whose reference answers stand in tags, as vision-language data often has them."""

import re
from collections.abc import Sequence
from typing import Any

from ..rewards import math_reward


_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def tagged_math_reward(completions: Sequence[Any], solution: Sequence[str], **kwargs: Any) -> list[float | None]:
    """[`math_reward`], reading a gold answer from its last `<answer>...</answer>` where it has one.

    Args:
        completions: plain or conversational.
        solution: the reference answers, with or without tags.
        kwargs: what TRL hands to `math_reward` besides.

    Example:
        >>> tagged_math_reward(["So it is \\\\boxed{12}."], solution=["<think>3 * 4</think> <answer> $12$ </answer>"])
        [1.0]
    """
    golds = [((_TAGGED.findall(gold) if isinstance(gold, str) else []) or [gold])[-1] for gold in solution]
    return math_reward(completions=completions, solution=golds, **kwargs)
