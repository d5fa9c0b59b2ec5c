"""What the theorem predicts beside what happened, and which tokens drove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..runlog.records import is_number
from ..runlog.smooth import smooth, smoothing_window
from .style import METHODS, new_figure


if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST = 15
_PREDICTED, _REALISED = METHODS["bonus"], METHODS["siren"]


@dataclass(frozen=True)
class DynamicsSummary:
    """How the theorem fared over a run.

    Args:
        steps: Shape (n,), measured steps.
        covariance: Shape (n,), the batch-centred term.
        state_covariance: Shape (n,), the per-state term.
        change: Shape (n,), realised entropy change of the same tokens, nats.
        window: Measurements in the moving mean of the correlations.
        correlation: Of smoothed minus covariance with the smoothed change; NaN below 15 measurements.
        state_correlation: Same for the per-state term.
        sign_agreement: Share of measurements where minus covariance and change have the same sign.
        state_sign_agreement: Same for the per-state term.
    """

    steps: NDArray[np.int64]
    covariance: NDArray[np.float64]
    state_covariance: NDArray[np.float64]
    change: NDArray[np.float64]
    window: int
    correlation: float
    state_correlation: float
    sign_agreement: float
    state_sign_agreement: float


def summarise(rows: Sequence[dict[str, Any]]) -> DynamicsSummary:
    """Read lines of `entropy_dynamics.jsonl`; a line that lacks one of the figures, or has none for it, is left out.

    Raises:
        ValueError: If no line has the figures.
    """
    keys = ("step", "covariance", "state_covariance", "entropy_change")
    table = [[row[k] for k in keys] for row in rows if all(is_number(row.get(k)) for k in keys)]
    if not table:
        raise ValueError(f"{len(rows)} lines, none with {', '.join(keys)}: not an entropy_dynamics.jsonl.")
    columns = np.array(sorted(table), dtype=np.float64).T
    steps, covariance, state, change = columns
    window = max(smoothing_window(len(steps)), min(5, len(steps)))
    enough = len(steps) >= _FEWEST  # fewer smoothed points correlate whatever they are
    return DynamicsSummary(
        steps.astype(np.int64), covariance, state, change, window,
        _correlation(smooth(-covariance, window), smooth(change, window)) if enough else float("nan"),
        _correlation(smooth(-state, window), smooth(change, window)) if enough else float("nan"),
        float(np.mean(np.sign(-covariance) == np.sign(change))),
        float(np.mean(np.sign(-state) == np.sign(change))),
    )  # fmt: skip


def plot_dynamics(summary: DynamicsSummary, size: tuple[float, float] | None = None) -> Figure:
    """Minus the per-state covariance and the realised entropy change, each over its own root mean square.

    Their scales differ by the unknown step size of the theorem, so only sign and shape compare. Draw inside
    `paper_style`.
    """
    figure, axes = new_figure(size=size)
    for values, style, label in (
        (-summary.state_covariance, _PREDICTED, "predicted: −Cov(log π, A)"),
        (summary.change, _REALISED, "realised: ΔH of the same tokens"),
    ):
        scale = float(np.sqrt(np.mean(values**2))) or 1.0
        axes.plot(summary.steps, values / scale, ".", color=style.color, alpha=0.5, markersize=4, markeredgewidth=0)
        axes.plot(summary.steps, smooth(values, summary.window) / scale, label=label, **style.line())
    axes.axhline(0, color="#777777", linewidth=0.8)
    axes.set(title="Entropy dynamics", xlabel="optimizer step", ylabel="in units of its own RMS")
    axes.legend()
    return figure


def plot_drivers(rows: Sequence[dict[str, Any]], size: tuple[float, float] | None = None) -> Figure | None:
    """Parts of the mean entropy change by log-probability bin and sign of advantage, averaged over measurements.

    Returns:
        The figure; None where no line has drivers. Draw inside `paper_style`.
    """
    tables: dict[tuple[str, tuple[float | None, float | None]], list[float]] = {}
    for row in rows:
        drivers = row.get("drivers")
        for driver in drivers if isinstance(drivers, list) else ():
            if _is_driver(driver):
                tables.setdefault((driver["sign"], tuple(driver["logp"])), []).append(float(driver["change"]))
    if not tables:
        return None
    bins = list(dict.fromkeys(bounds for _, bounds in tables))
    figure, axes = new_figure(size=size)
    places = np.arange(len(bins))
    for offset, sign, style, hatch in ((-0.2, "+", _REALISED, ""), (0.2, "-", _PREDICTED, "////")):
        heights = [1000 * float(np.mean(tables.get((sign, bounds), [0.0]))) for bounds in bins]
        label = f"advantage {'above' if sign == '+' else 'below'} 0"
        axes.bar(places + offset, heights, 0.38, color=style.color, hatch=hatch, edgecolor="white", label=label)
    axes.set_xticks(places, [_bin_label(low, high) for low, high in bins])
    axes.axhline(0, color="#777777", linewidth=0.8)
    axes.set(title="Which tokens moved entropy", xlabel="probability of the token", ylabel="part of ΔH (millinats)")
    figure.legend(loc="outside lower center", ncols=2)  # bars may fill the axes
    return figure


def _is_driver(driver: Any) -> bool:
    """Whether a line's entry has a sign, two bounds and a finite change."""
    if not isinstance(driver, dict) or driver.get("sign") not in ("+", "-") or not is_number(driver.get("change")):
        return False
    bounds = driver.get("logp")
    return isinstance(bounds, list) and len(bounds) == 2 and all(b is None or is_number(b) for b in bounds)


def _bin_label(low: float | None, high: float | None) -> str:
    def percent(logp: float) -> str:
        return f"{100 * np.exp(logp):.2g}%"

    if low is None:
        return f"<{percent(high)}" if high is not None else "all"
    return f">{percent(low)}" if high is None else f"{percent(low)}–{percent(high)}"


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
