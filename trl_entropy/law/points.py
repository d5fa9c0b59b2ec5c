"""The law's points of a run, and everything the law says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runlog import Run, RunLogError
from .fit import LawFit, fit_entropy_law
from .forecast import LawForecast, forecast_entropy_law
from .verdict import MIN_POINTS


@dataclass(frozen=True)
class RunLaw:
    """A run's points, steps, entropies (nats) and rewards (n,), and their fit.

    `source` says, for the reader, which metrics they are. There is no forecast where the run is too short for one.
    """

    run: Run
    source: str
    steps: NDArray[np.float64]
    entropy: NDArray[np.float64]
    reward: NDArray[np.float64]
    fit: LawFit
    forecast: LawForecast | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "run": self.run.name,
            "file": str(self.run.source),
            "points": self.source,
            "fit": self.fit.as_dict(),
            "forecast": self.forecast.as_dict() if self.forecast else None,
        }


def law_of_run(
    run: Run,
    entropy_key: str | None = None,
    reward_key: str | None = None,
    fraction: float = 0.15,
    confidence: float = 0.95,
    average: int = 1,
) -> RunLaw:
    """Fit the law to a run and forecast it from its first part.

    Without keys, the points are those of `entropy_reward.jsonl` (entropy and validation reward measured together)
    where it has at least 8 or the training log lacks `entropy` or `reward`, else the training log's. `source` says
    which, and how many points were passed over.

    Args:
        entropy_key, reward_key: Metrics to use as H and R.
        fraction: Share of the points to forecast from.
        confidence: Of the intervals.
        average: Successive points that are averaged into one first. A step of few prompts is a noisy measurement of R
            and H; its mean over several steps is less so. A remainder at the end of the run is left out.

    Raises:
        ValueError: If `average` is below 1.
        RunLogError: If a metric was not logged, or fewer than two steps have both.
    """
    h_key, r_key = entropy_key or "entropy", reward_key or "reward"
    pairs = run.metrics.get("law_pairs/entropy")
    note = ""
    if not entropy_key and not reward_key and pairs is not None:
        missing = [key for key in (h_key, r_key) if key not in run.metrics]
        if len(pairs) >= MIN_POINTS or missing:
            h_key, r_key = "law_pairs/entropy", "law_pairs/reward"
            note = f" (no {' and no '.join(missing)} in the training log)" if missing else ""
        else:
            note = f" (entropy_reward.jsonl has {len(pairs)} points of the {MIN_POINTS} needed)"
    steps, entropy, reward = run.pairs(h_key, r_key)
    if average < 1:
        raise ValueError(f"average is {average}: give the number of successive points to average, at least 1.")
    points = np.array([steps, entropy, reward], dtype=np.float64)
    points = points[:, : points.shape[1] // average * average].reshape(3, -1, average).mean(axis=2)
    if points.shape[1] < 2:
        means = f", means of {average}: {points.shape[1]}" if average > 1 else ""
        raise RunLogError(
            f"{run.source}: {len(steps)} step(s) with both {h_key!r} and {r_key!r}{means}; a fit needs 2."
        )
    entropy, reward = points[1], points[2]
    fit = fit_entropy_law(entropy, reward, confidence=confidence)
    long_enough = len(entropy) * fraction >= MIN_POINTS
    forecast = forecast_entropy_law(entropy, reward, fraction=fraction, confidence=confidence) if long_enough else None
    source = f"{h_key} and {r_key}" + (f", means of {average} points" if average > 1 else "") + note
    return RunLaw(run, source, points[0], entropy, reward, fit, forecast)
