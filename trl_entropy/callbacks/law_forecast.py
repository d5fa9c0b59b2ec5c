"""Forecast a run's ceiling while it trains."""

from __future__ import annotations

import logging
import math
from typing import Any

from transformers import TrainerCallback

from ..law import LawFit, fit_entropy_law


logger = logging.getLogger(__name__)


class EntropyLawCallback(TrainerCallback):
    """Fit `R = b - a * exp(H)` to the log as it grows and log `law/ceiling`, `law/a`, `law/b` and `law/r2`.

    A fit whose verdict is `unfit` is not logged: a number would be taken for a forecast. The figures of a fit appear
    in the next log. On a run that controls entropy the law is a diagnostic of the baseline, not a target: an
    intervention leaves the curve.

    Args:
        trainer: A TRL `GRPOTrainer`.
        every: Logged points between fits.
        warmup: Logged points before the first fit.
        reward_key: The score to forecast.

    Raises:
        ValueError: If `every` is below 1 or `warmup` below 8, the fewest points that carry an interval.

    Example:
        ```python
        trainer.add_callback(EntropyLawCallback(trainer))
        ```
    """

    def __init__(self, trainer: Any, every: int = 10, warmup: int = 20, reward_key: str = "reward"):
        if every < 1:
            raise ValueError(f"every is {every}: give a whole number of at least 1.")
        if warmup < 8:
            raise ValueError(f"warmup is {warmup}: at least 8 points carry a fit with intervals.")
        self.trainer, self.every, self.warmup, self.reward_key = trainer, every, warmup, reward_key
        self.entropy: list[float] = []
        self.reward: list[float] = []
        self.fit: LawFit | None = None
        self._pending: dict[str, float] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        """Take up the points of a resumed run."""
        self.entropy, self.reward = [], []
        for logs in state.log_history:
            self._take(logs)

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Add a point; fit every so many."""
        if not self._take(logs or {}) or len(self.entropy) < self.warmup or len(self.entropy) % self.every:
            return
        try:
            self.fit = fit_entropy_law(self.entropy, self.reward, samples=200)
        except (ValueError, ArithmeticError) as error:
            logger.warning(f"No forecast of the entropy law: {error}")
            return
        if self.fit.verdict != "unfit":
            self._pending = {
                "law/ceiling": self.fit.ceiling,
                "law/a": self.fit.a,
                "law/b": self.fit.b,
                "law/r2": self.fit.r2,
            }

    def on_step_begin(self, args, state, control, **kwargs):
        """Hand the figures of a fit to the trainer, which empties its metrics right after `on_log`."""
        for name, value in self._pending.items():
            self.trainer._metrics["train"][name].append(value)
        self._pending = {}

    def _take(self, logs: dict[str, Any]) -> bool:
        entropy, reward = logs.get("entropy"), logs.get(self.reward_key)
        if entropy is None or reward is None or not (math.isfinite(entropy) and math.isfinite(reward)):
            return False
        self.entropy.append(float(entropy))
        self.reward.append(float(reward))
        return True
