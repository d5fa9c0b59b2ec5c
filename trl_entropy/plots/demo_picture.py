"""The demo's picture: entropy, train reward, pass@k over training, and pass@16 against pass@1 along it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..runlog.run_methods import name_of
from .style import SeriesStyle, new_figure, paper_style, save_figure, styles_by_method


# Batches in the moving average of the training curves: one batch's reward has a standard error of two to three points.
_SMOOTHING = 9
_MOST_BANDS = 3  # methods; with more, overlapping bands say nothing
_SPLIT_NAMES = {"warmup": "warm-up", "train": "training", "selection": "selection", "heldout": "held-out"}


def plot_demo(results: dict[str, Any], path: str | Path) -> list[Path]:
    """Draw the demo's results in four panels and write them as PNG and SVG.

    Lines are means over seeds; with several seeds each one is also drawn, thin. Training curves are moving averages of
    9 batches. Bands and bars are 95 % bootstrap intervals over puzzles.

    Args:
        results: The content of the demo's `results.json`.
        path: Where to, with or without the suffix.

    Returns:
        The two files, PNG first.

    Example:
        ```python
        plot_demo(json.loads(Path("demo_output/results.json").read_text()), "demo.png")
        ```
    """
    with paper_style():
        figure, axes = new_figure(2, 2, size=(9.4, 7.0))
        entropy, reward, over_time, frontier = axes.flat
        _training(entropy, results, "entropy")
        entropy.set(title="a  Policy entropy while training", ylabel="entropy (nats a token)")
        _training(reward, results, "reward")
        reward.set(title="b  Train reward", ylabel="share of correct completions")
        _over_time(over_time, results)
        _frontier(frontier, results)
        prompts = results["settings"]["prompts_per_batch"]
        for axis in (entropy, reward, over_time):
            axis.set_xlabel(f"batches of {prompts} prompts x 16 completions")
            axis.set_xlim(left=0)
        handles, labels = frontier.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)
        return save_figure(figure, path)


def _lines(results: dict[str, Any]) -> list[tuple[dict[str, Any], SeriesStyle]]:
    methods = results["methods"]
    names = [figures.get("name") or name_of(method) for method, figures in methods.items()]
    return list(zip(methods.values(), styles_by_method(list(methods), names), strict=True))


def _training(axis: Any, results: dict[str, Any], key: str) -> None:
    for figures, style in _lines(results):
        curves = [_smooth(run[key], _SMOOTHING) for run in figures["runs"]]
        batches = np.array(figures["runs"][0]["batch"])
        if len(curves) > 1:
            for curve in curves:
                axis.plot(batches, curve, color=style.color, linewidth=0.6, alpha=0.45)
        every = max(1, len(batches) // 6)
        axis.plot(batches, np.mean(curves, axis=0), marker=style.marker, markevery=every, **style.line())


def _smooth(values: list[float], width: int) -> np.ndarray:
    """A centred moving average; at the ends over what there is."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _over_time(axis: Any, results: dict[str, Any]) -> None:
    for figures, style in _lines(results):
        for name in ("pass@16", "pass@1"):
            points = [results["start"], *(point["figures"] for point in figures["path"])]
            batches = [0, *(point["batch"] for point in figures["path"])]
            if len(results["methods"]) <= _MOST_BANDS:
                low, high = zip(*(point[name]["interval"] for point in points), strict=True)
                axis.fill_between(batches, low, high, color=style.color, alpha=0.12, linewidth=0)
            axis.plot(batches, [point[name]["mean"] for point in points], marker=style.marker, **style.line())
    settings = results["settings"]
    axis.set(title=f"c  pass@k on {settings['puzzles']} {_SPLIT_NAMES[settings['split']]} puzzles", ylabel="pass@k")
    _name_lines(axis, results, "pass@16", above=False)
    _name_lines(axis, results, "pass@1", above=True)


def _name_lines(axis: Any, results: dict[str, Any], name: str, above: bool) -> None:
    """Write `name` above or below the middle of its group of lines, clear of their bands."""
    middles = [figures["path"][len(figures["path"]) // 2] for figures in results["methods"].values()]
    bounds = [bound for middle in middles for bound in middle["figures"][name]["interval"]]
    axis.annotate(
        name,
        (middles[0]["batch"], max(bounds) if above else min(bounds)),
        xytext=(0, 7 if above else -7),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontweight="bold",
        color="#444444",
    )


def _frontier(axis: Any, results: dict[str, Any]) -> None:
    start = results["start"]
    for figures, style in _lines(results):
        points = [start, *(point["figures"] for point in figures["path"])]
        x = [point["pass@1"]["mean"] for point in points]
        y = [point["pass@16"]["mean"] for point in points]
        axis.plot(x, y, marker=style.marker, label=style.label, **style.line())
        end = points[-1]
        axis.errorbar(
            x[-1],
            y[-1],
            xerr=[[x[-1] - end["pass@1"]["interval"][0]], [end["pass@1"]["interval"][1] - x[-1]]],
            yerr=[[y[-1] - end["pass@16"]["interval"][0]], [end["pass@16"]["interval"][1] - y[-1]]],
            color=style.color,
            linewidth=0.8,
            capsize=2,
        )
    x, y = start["pass@1"]["mean"], start["pass@16"]["mean"]
    axis.plot(x, y, marker="*", markersize=12, color="#222222", linestyle="none", zorder=5)
    axis.annotate("start", (x, y), xytext=(8, 5), textcoords="offset points")
    axis.margins(0.09)
    axis.set(title="d  Along training: up and right is better", xlabel="pass@1", ylabel="pass@16")
