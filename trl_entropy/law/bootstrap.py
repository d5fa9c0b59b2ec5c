"""Moving-block bootstrap of a straight line, for points that are autocorrelated in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.float64]


def line_through(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Intercept and slope (...) of least squares through x (n,), not constant, and y (..., n), several lines at once.

    Example:
        >>> [float(v) for v in line_through(np.array([0.0, 1.0]), np.array([1.0, 3.0]))]
        [1.0, 2.0]
    """
    centred = x - x.mean()
    slope = (y - y.mean(axis=-1, keepdims=True)) @ centred / (centred @ centred)
    return y.mean(axis=-1) - slope * x.mean(), slope


def block_length(residuals: Floats) -> int:
    """The block length that suits residuals of an AR(1) process.

    `(3/2)^(1/3) * (2 rho / (1 - rho^2))^(2/3) * n^(1/3)` with `rho` the lag-1 autocorrelation (Politis and White 2004,
    circular blocks), at least 1 and at most n / 4: fewer than four blocks would say nothing about the spread.

    Example:
        >>> block_length(np.array([1.0, -1.0] * 20))
        1
    """
    n, r = len(residuals), residuals - residuals.mean()
    power = float(r @ r)
    rho = min(float(r[:-1] @ r[1:]) / power if power > 0 else 0.0, 0.97)
    # Negative autocorrelation makes blocks unnecessary: single points are then conservative.
    length = 1.5 ** (1 / 3) * (2 * max(rho, 0.0) / (1 - rho**2)) ** (2 / 3) * n ** (1 / 3)
    return int(min(max(1, round(length)), max(1, n // 4)))


def bootstrap_lines(x: Floats, y: Floats, samples: int, block: int, seed: int) -> Floats:
    """Intercepts and slopes of the line refitted to resampled residuals.

    The design `x` stays as it was observed: a run visits its entropies in order, and resampling points would change
    how far the entropy moved. Residuals are drawn in circular blocks of `block` successive points and scaled by
    `sqrt(n / (n - 2))`, for the two degrees of freedom the line has taken out of them. x and y, (n,), are in the order
    of time; the result is (samples, 2), intercept and slope.
    """
    n = len(x)
    intercept, slope = line_through(x, y)
    fitted = intercept + slope * x
    residuals = (y - fitted) * np.sqrt(n / max(1, n - 2))
    starts = np.random.default_rng(seed).integers(0, n, size=(samples, -(-n // block)))
    index = (starts[:, :, None] + np.arange(block)).reshape(samples, -1)[:, :n] % n
    return np.stack(line_through(x, fitted + residuals[index]), axis=1)
