"""Reward functions that fail without leaving the other processes behind, and that cannot hang for ever."""

import asyncio
import functools
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class RewardError(RuntimeError):
    """A reward function raised, hung, or returned something that cannot be trained on."""


class RewardTimeout(TimeoutError):
    """A reward function took longer than `reward_timeout` seconds."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `RewardTimeout` in the block after `seconds`; no limit with `None`.

    A timer sends SIGUSR2 to the main thread, which ends a loop, a sleep, a lock or a socket; SIGALRM is left to
    math-verify, which has its own use for it. Outside the main thread, and where SIGUSR2 does not exist, nothing can
    be interrupted and there is no limit. A call into compiled code ends only when it returns.
    """
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or not main or not hasattr(signal, "SIGUSR2"):
        yield
        return

    def expired(*_):
        raise RewardTimeout(f"no answer after reward_timeout={seconds} s")

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


@contextmanager
def watched(trainer: Any) -> Iterator[list[tuple[str, Exception]]]:
    """While open, the trainer's own reward functions report failures in the list it yields, and return no rewards.

    TRL gathers the rewards of all processes: one that raised there would leave the others waiting.
    """
    failures: list[tuple[str, Exception]] = []
    originals = trainer.reward_funcs
    names = trainer.reward_func_names
    limit = trainer.args.reward_timeout
    trainer.reward_funcs = [
        function if isinstance(function, torch.nn.Module) else _reporting(function, name, limit, failures)
        for function, name in zip(originals, names, strict=True)
    ]
    try:
        yield failures
    finally:
        trainer.reward_funcs = originals


def _reporting(function: Callable, name: str, limit: float | None, failures: list[tuple[str, Exception]]) -> Callable:
    if _is_async(function):

        async def call_async(*args, **kwargs):
            try:
                return await asyncio.wait_for(function(*args, **kwargs), limit)
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
                return function(*args, **kwargs)
        except Exception as error:
            failures.append((name, error))
            return [None] * len(kwargs["completions"])

    return call


def _is_async(function: Callable) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
