"""Moving means for curves that are read by eye."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smooth(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """A centred moving mean over at most `window` points, shorter at both ends, of the same length.

    >>> smooth(np.array([0.0, 3.0, 6.0, 9.0]), 3).tolist()
    [1.5, 3.0, 6.0, 7.5]
    """
    if window <= 1:
        return values
    kernel = np.ones(window)
    half = window // 2
    total = np.convolve(np.pad(values, half), kernel, mode="valid")[: len(values)]
    count = np.convolve(np.pad(np.ones_like(values), half), kernel, mode="valid")[: len(values)]
    return total / count


def smoothing_window(points: int) -> int:
    """An odd window of about a 25th of the run and at least 3; 1 below 15 points."""
    return 1 if points < 15 else max(3, points // 25 | 1)
