"""The weight of a method's own advantages against TRL's, constant or annealed over the training."""

from typing import Any

from .base import Method, argument, unused_scale


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


def mix_now(method: Method, progress: float) -> float:
    """The weight when a share `progress` of the training is done: `start`, and from `hold` on, linearly to `end`."""
    start, end, hold = (getattr(method.args, f"{method.key}_mix{part}") for part in ("", "_end", "_hold"))
    return start if end is None else start + (end - start) * max(0.0, progress - hold) / (1 - hold)


def check_mix(method: type[Method], args: Any) -> None:
    """Refuse a weight that is always 0 and a hold without an end; warn of `scale_rewards` where it is always 1."""
    start, end, hold = (getattr(args, f"{method.key}_mix{part}") for part in ("", "_end", "_hold"))
    if start == 0 and not end:
        raise ValueError(
            f"{method.key}_mix=0 leaves TRL's advantage as it is, so {method.switch} has no effect. Raise it, or "
            f"leave {method.switch} out."
        )
    if hold and end in (None, start):
        raise ValueError(
            f"{method.key}_mix_hold={hold} has no effect while {method.key}_mix stays {start}. Set "
            f"{method.key}_mix_end to another weight, or leave {method.key}_mix_hold out."
        )
    if start == 1 and end in (None, 1):
        unused_scale(method, args)
