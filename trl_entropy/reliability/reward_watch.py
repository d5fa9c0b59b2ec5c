"""Reward functions that fail without leaving the other processes behind, and that cannot hang for ever."""

import asyncio
import functools
import inspect
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .. import TrlEntropyError


class RewardError(TrlEntropyError, RuntimeError):
    """A reward function raised, hung, or returned something that cannot be trained on."""


class RewardTimeout(BaseException):
    """A reward function took longer than `reward_timeout` seconds.

    No `Exception`, so that a reward which catches whatever a completion throws at it cannot swallow its own limit.
    """


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `RewardTimeout` in the block after `seconds`, at its end if not before; no limit with `None`.

    A timer sends SIGUSR2 to the main thread, which ends a loop, a sleep, a lock or a socket; SIGALRM is left to
    math-verify, which has its own use for it. Outside the main thread, and where SIGUSR2 does not exist, nothing can
    be interrupted and there is no limit. A call into compiled code ends only when it returns.
    """
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "SIGUSR2"):
        yield
        return

    over = RewardTimeout(f"no answer after reward_timeout={seconds} s")
    fired = []

    def expired(*_):
        fired.append(True)
        raise over

    identity = threading.main_thread().ident
    assert identity is not None
    timer = threading.Timer(seconds, lambda: signal.pthread_kill(identity, signal.SIGUSR2))
    timer.daemon = True
    before = signal.signal(signal.SIGUSR2, expired)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR2, before)
    if fired:  # and swallowed in the block
        raise over


@contextmanager
def watched(trainer: Any) -> Iterator[list[tuple[str, BaseException]]]:
    """While open, the trainer's own reward functions report failures in the list it yields, and return no rewards.

    TRL gathers the rewards of all processes: one that raised there would leave the others waiting.
    """
    failures: list[tuple[str, BaseException]] = []
    originals, limit = trainer.reward_funcs, trainer.args.reward_timeout
    trainer.reward_funcs = [
        function if isinstance(function, torch.nn.Module) else _reporting(function, name, limit, failures)
        for function, name in zip(originals, trainer.reward_func_names, strict=True)
    ]
    try:
        yield failures
    finally:
        trainer.reward_funcs = originals


def _reporting(
    function: Callable, name: str, limit: float | None, failures: list[tuple[str, BaseException]]
) -> Callable:
    if _is_async(function):

        async def call_async(*args, **kwargs):
            try:
                rewards = await asyncio.wait_for(function(*args, **kwargs), limit)
                return checked(rewards, len(kwargs["completions"]))
            except TimeoutError as error:
                failures.append((name, RewardTimeout(f"no answer after reward_timeout={limit} s ({error})")))
            except Exception as error:
                failures.append((name, error))
            return [None] * len(kwargs["completions"])

        return call_async

    @functools.wraps(function, updated=())
    def call(*args, **kwargs):
        try:
            with time_limit(limit):
                rewards = function(*args, **kwargs)
            return checked(rewards, len(kwargs["completions"]))
        except (Exception, RewardTimeout) as error:
            failures.append((name, error))
            return [None] * len(kwargs["completions"])

    return call


def checked(rewards: Any, completions: int) -> list[float | None]:
    """What a reward function returned, as one number or `None` for each completion.

    Raises:
        TypeError, ValueError: when it is anything else. TRL would find out after some processes have gone ahead.
    """
    if isinstance(rewards, str | bytes | dict) or not isinstance(rewards, Iterable):
        raise TypeError(f"it returned {rewards!r:.60}, not a list with a number or None for each completion")
    rewards = list(rewards)
    if len(rewards) != completions:
        raise ValueError(f"it returned {len(rewards)} rewards for {completions} completions")
    for reward in rewards:
        if reward is not None and (isinstance(reward, str) or not hasattr(reward, "__float__")):
            raise TypeError(f"it returned {reward!r:.60} among its rewards, neither a number nor None")
    return [None if reward is None else float(reward) for reward in rewards]


def _is_async(function: Callable) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
