"""Whether a run's points can carry the entropy law, in words."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


Verdict = Literal["holds", "doubtful", "unfit"]

MIN_POINTS = 8
MIN_ENTROPY_MOVE = 0.05  # nats, between the 10 % and the 90 % quantile
MAX_DRAWDOWN = 0.35  # share of the smoothed reward's range
MIN_R2 = 0.7
MAX_ENTROPY_NOISE = 0.2  # share of the variance of exp(H) that is step-to-step noise
MAX_BEND = 0.5  # share of the residual variance that a quadratic term in exp(H) explains
_ROUNDING = 1e-12  # relative
MIN_BEND_GAIN = 0.01  # of R2: below it a bend is too small to matter


def is_constant(values: NDArray[np.float64]) -> bool:
    """Whether values differ by no more than rounding.

    >>> is_constant(np.array([0.3, 0.1 + 0.2])), is_constant(np.array([0.3, 0.301]))
    (True, False)
    """
    return bool(np.ptp(values) <= _ROUNDING * max(1.0, float(np.abs(values).max())))


def noise_share(values: NDArray[np.float64]) -> float:
    """White noise's share of a series' variance: `mean(diff^2) / 2 / variance`, at most 1.

    Noise in exp(H) biases the fitted `a` toward 0 by about this share (regression dilution).
    """
    variance = float(values.var())
    return min(1.0, float(np.square(np.diff(values)).mean()) / 2 / variance) if variance > 0 else 1.0


def drawdown(values: NDArray[np.float64]) -> float:
    """How far a series falls back from its running maximum, as a share of its range, smoothed over n / 8 points.

    Example:
        >>> drawdown(np.array([0.0, 1.0, 0.5]))
        0.5
    """
    window = max(1, len(values) // 8)
    smooth = np.convolve(values, np.full(window, 1 / window), mode="valid")
    span = float(smooth.max() - smooth.min())
    return float((np.maximum.accumulate(smooth) - smooth).max()) / span if span > 0 else 0.0


def bend(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """How far points bend from a line in x = exp(H): the share of its residuals' variance that a term in x^2 explains.

    Beside it the R2 that the term adds; both are 0 where x or y is constant.
    """
    if is_constant(x) or is_constant(y):
        return 0.0, 0.0
    z = (x - x.mean()) / x.std()
    quadratic = np.stack([np.ones_like(z), z, z * z], axis=1)
    straight, bent = (y - d @ np.linalg.lstsq(d, y, rcond=None)[0] for d in (quadratic[:, :2], quadratic))
    left = float(straight.var())
    gained = left - float(bent.var())
    return (gained / left, gained / float(y.var())) if left > 0 else (0.0, 0.0)


def judge(
    entropy: NDArray[np.float64], reward: NDArray[np.float64], a: float, r2: float, ceiling_width: float
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on a fit, with every reason against it.

    `unfit` means that the coefficients carry no information (too few points, entropy hardly moved, wrong sign).
    `doubtful` means that they describe these points, and should not be extrapolated. `holds` means that nothing was
    found against the fit. Entropy (n,), in nats, and reward (n,) are in the order of time; the width of the ceiling's
    interval is in units of reward, NaN where there is none.
    """
    n = len(entropy)
    if n < MIN_POINTS:
        return "unfit", (f"{n} points: at least {MIN_POINTS} are needed for an interval",)
    unfit, doubts = [], []
    low, high = np.quantile(entropy, [0.1, 0.9])
    if high - low < MIN_ENTROPY_MOVE:
        unfit.append(f"entropy moved by {high - low:.3f} nats only (at least {MIN_ENTROPY_MOVE} needed)")
    if not a > 0:
        unfit.append(f"a = {a:.3g}: reward did not rise as entropy fell")
    back = drawdown(reward)
    if back > MAX_DRAWDOWN:
        doubts.append(f"reward is not monotone: it fell back by {back:.0%} of its range")
    if not r2 >= MIN_R2:
        doubts.append(f"R2 = {r2:.2f} is low (below {MIN_R2})")
    noise = noise_share(np.exp(entropy))
    if noise > MAX_ENTROPY_NOISE:
        doubts.append(f"{noise:.0%} of the variance of exp(H) is step-to-step noise: a is biased toward 0")
    bending, gain = bend(np.exp(entropy), reward)
    if bending > MAX_BEND and gain > MIN_BEND_GAIN:
        doubts.append(f"the points bend away from the law: a quadratic term explains {bending:.0%} of the residuals")
    span = float(reward.max() - reward.min())
    if np.isfinite(ceiling_width) and ceiling_width > span:
        doubts.append(
            f"the ceiling's interval ({ceiling_width:.3g}) is wider than the range of the rewards ({span:.3g})"
        )
    if unfit:
        return "unfit", tuple(unfit + doubts)
    return ("doubtful", tuple(doubts)) if doubts else ("holds", ())
