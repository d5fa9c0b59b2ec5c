"""The weight of a method's own advantages against TRL's, constant or annealed over the training."""

from typing import Any

import torch

from .base import Group, Method, argument, unused_scale


def mix_argument(whose: str) -> Any:
    """The field `KEY_mix` of a method's arguments."""
    return argument(
        1.0,
        f"Weight of {whose} advantage at the start of training; the rest is the advantage that TRL gives.",
        lambda x: 0 <= x <= 1,
        "a number in [0, 1]",
    )


def mix_end_argument() -> Any:
    """The field `KEY_mix_end` of a method's arguments."""
    return argument(
        None,
        "That weight at the end of training, approached linearly. Unset, it stays as it starts.",
        lambda x: x is None or 0 <= x <= 1,
        "a number in [0, 1], or null",
    )


def mix_hold_argument() -> Any:
    """The field `KEY_mix_hold` of a method's arguments."""
    return argument(
        0.0,
        "Share of the training for which that weight stays as it starts, before it moves to its end.",
        lambda x: 0 <= x < 1,
        "a fraction in [0, 1)",
    )


class Mixed(Method):
    """The base of such a method: `w A_own + (1 - w) A`, with `w` from `KEY_mix`, `KEY_mix_end` and `KEY_mix_hold`."""

    replaces_advantage = True
    _mix = 1.0

    @classmethod
    def check(cls, args: Any) -> None:
        """Refuse a weight that is always 0 and a hold without an end; warn of `scale_rewards` where it is always 1."""
        start, end, hold = cls._weights(args)
        if start == 0 and not end:
            raise ValueError(
                f"{cls.key}_mix=0 leaves TRL's advantage as it is, so {cls.switch} has no effect. Raise it, or "
                f"leave {cls.switch} out."
            )
        if hold and end in (None, start):
            raise ValueError(
                f"{cls.key}_mix_hold={hold} has no effect while {cls.key}_mix stays {start}. Set "
                f"{cls.key}_mix_end to another weight, or leave {cls.key}_mix_hold out."
            )
        if start == 1 and end in (None, 1):
            unused_scale(cls, args)

    def mixed(self, own: torch.Tensor, group: Group) -> torch.Tensor:
        """(P, N) `w own + (1 - w) A`: `w` is `start`, and from `hold` on moves linearly to `end`."""
        start, end, hold = self._weights(self.args)
        moved = max(0.0, group.progress - hold) / (1 - hold)
        self._mix = start if end is None else start + (end - start) * moved
        return self._mix * own + (1 - self._mix) * group.advantages

    def close(self, totals):
        return {f"{self.key}/mix": self._mix}

    @classmethod
    def _weights(cls, args: Any) -> tuple[float, float | None, float]:
        start, end, hold = (getattr(args, f"{cls.key}_mix{part}") for part in ("", "_end", "_hold"))
        return start, end, hold
