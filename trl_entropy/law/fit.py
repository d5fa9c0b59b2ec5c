"""Fit `R = b - a * exp(H)` to one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bootstrap import block_length, bootstrap_lines, line_through
from .verdict import MIN_POINTS, Verdict, is_constant, judge


Interval = tuple[float, float]
_NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class LawFit:
    """A fitted entropy law, in units of reward: `a` is what one unit of exp(H) costs, `b` the intercept.

    Args:
        a_interval, b_interval, ceiling_interval: Bootstrap intervals; NaN with fewer than 8 points.
        r2: Share of the reward's variance explained, in the sample; NaN where the reward is constant.
        rmse: Root mean squared residual, in units of reward.
        block: Points in one bootstrap block.
        entropy_range: Smallest and largest entropy seen, nats.
        reasons: Everything found against the fit.
    """

    a: float
    b: float
    a_interval: Interval = _NO_INTERVAL
    b_interval: Interval = _NO_INTERVAL
    ceiling_interval: Interval = _NO_INTERVAL
    r2: float = math.nan
    rmse: float = math.nan
    points: int = 0
    block: int = 0
    confidence: float = 0.95
    entropy_range: Interval = _NO_INTERVAL
    verdict: Verdict = "unfit"
    reasons: tuple[str, ...] = ()
    _lines: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)), repr=False, compare=False)

    @property
    def ceiling(self) -> float:
        """`b - a`, the reward the law gives at zero entropy."""
        return self.b - self.a

    def predict(self, entropy: ArrayLike) -> NDArray[np.float64]:
        """`b - a * exp(H)` at entropies in nats, any shape."""
        return self.b - self.a * np.exp(np.asarray(entropy, dtype=np.float64))

    def band(self, entropy: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The interval of the law itself (not of single rewards) at entropies of shape (m,): low and high, (m,)."""
        x = np.exp(np.asarray(entropy, dtype=np.float64))
        if not len(self._lines):
            return np.full_like(x, np.nan), np.full_like(x, np.nan)
        tail = (1 - self.confidence) / 2
        values = self._lines[:, :1] + self._lines[:, 1:] * x
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        return low, high

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "_lines"}
        return {name: _plain(value) for name, value in {**values, "ceiling": self.ceiling}.items()}


def fit_entropy_law(
    entropy: ArrayLike | Sequence[float],
    reward: ArrayLike | Sequence[float],
    *,
    confidence: float = 0.95,
    samples: int = 1000,
    block: int | None = None,
    seed: int = 0,
) -> LawFit:
    """Fit `R = b - a * exp(H)` by least squares (arXiv 2505.22617, equation 1 and section 2.4).

    The law is linear in exp(H), so the fit is exact and has no starting point. Intervals come from a bootstrap of the
    residuals in blocks, because successive points of a run are autocorrelated and single-point resampling would make
    them too narrow.

    Args:
        entropy: Mean token entropy H, nats, shape (n,), in the order of time.
        reward: Score R of the same steps, shape (n,), in any unit; `a`, `b` and the ceiling come out in that unit.
        confidence: Of the intervals, strictly between 0 and 1.
        samples, seed: Of the bootstrap. No global generator is touched.
        block: Points in one block; chosen from the residuals' autocorrelation by default.

    Returns:
        The fit with an honest verdict. Two points give `a` and `b` exactly and no interval. Constant entropy gives NaN
        everywhere and the verdict `unfit`; constant reward gives `a` 0, `b` that reward, no interval, R2 NaN, `unfit`.

    Raises:
        ValueError: If the two have different lengths, fewer than two points, more than one axis, or values that are
            not finite.

    Example:
        >>> fit = fit_entropy_law([1.2, 0.8, 0.4, 0.1], [0.27, 0.38, 0.45, 0.49])
        >>> round(fit.a, 2), round(fit.ceiling, 2), fit.verdict
        (0.1, 0.5, 'unfit')
    """
    h, r = _checked(entropy, reward)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a number strictly between 0 and 1, such as 0.95.")
    if samples < 1:
        raise ValueError(f"samples is {samples}: give at least 1 bootstrap resample (1000 by default).")
    if block is not None and not 1 <= block <= len(h):
        raise ValueError(f"block is {block}: give 1 to {len(h)} points, or None to choose it from the data.")
    x = np.exp(h)
    common: dict[str, Any] = {
        "points": len(h), "confidence": confidence, "entropy_range": (float(h.min()), float(h.max())),
    }  # fmt: skip
    if is_constant(x):
        return LawFit(math.nan, math.nan, reasons=(f"entropy is constant at {h[0]:.3g} nats",), **common)
    if is_constant(r):
        level = float(r.mean())
        return LawFit(0.0, level, rmse=0.0, reasons=(f"reward is constant at {level:.3g}",), **common)
    b, slope = (float(v) for v in line_through(x, r))
    residuals = r - (b + slope * x)
    if len(h) >= MIN_POINTS:
        common["block"] = block or block_length(residuals)
        lines = bootstrap_lines(x, r, samples, common["block"], seed)
        common |= {
            "a_interval": _interval(-lines[:, 1], confidence),
            "b_interval": _interval(lines[:, 0], confidence),
            "ceiling_interval": _interval(lines.sum(axis=1), confidence),
            "_lines": lines,
        }
    low, high = common.get("ceiling_interval", _NO_INTERVAL)
    r2 = 1 - float(residuals @ residuals) / float(len(r) * r.var())
    verdict, reasons = judge(h, r, -slope, r2, high - low)
    rmse = float(np.sqrt(np.mean(residuals**2)))
    return LawFit(-slope, b, r2=r2, rmse=rmse, verdict=verdict, reasons=reasons, **common)


def _checked(entropy: Any, reward: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    h, r = np.asarray(entropy, dtype=np.float64), np.asarray(reward, dtype=np.float64)
    if h.ndim != 1 or h.shape != r.shape:
        raise ValueError(f"entropy has shape {h.shape} and reward {r.shape}: give two series of the same length (n,).")
    if len(h) < 2:
        raise ValueError(f"{len(h)} point(s) given: a line needs at least 2, and an interval at least {MIN_POINTS}.")
    for name, values in (("entropy", h), ("reward", r)):
        if not np.isfinite(values).all():
            where = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{name}[{where}] is {values[where]}: drop steps that have no finite value.")
    if h.max() > 20:
        raise ValueError(
            f"entropy reaches {h.max():.3g}: it is expected in nats (at most log of the vocabulary size)."
        )
    return h, r


def _interval(values: NDArray[np.float64], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
