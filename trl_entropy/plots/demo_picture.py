"""The demo's picture: entropy, train reward, pass@k over training, and pass@16 against pass@1 along it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..runlog.smooth import smooth
from .frontier_picture import draw_frontier, styles
from .style import new_figure, paper_style, save_figure


# Batches in the moving average of the training curves: one batch's reward has a standard error of two to three points.
_SMOOTHING = 9
_MOST_BANDS = 3  # methods; with more, overlapping bands say nothing
_SPLIT_NAMES = {"selection": "selection", "heldout": "held-out"}


def plot_demo(results: dict[str, Any], path: str | Path) -> list[Path]:
    """Draw one task of a study in four panels and write them as PNG and SVG.

    Lines are means over seeds; with several seeds each one is also drawn, thin. Training curves are moving averages of
    9 batches. Bands are 95 % bootstrap intervals over puzzles and seeds.

    Args:
        results: From `trl_entropy.study.compared`, the content of the demo's `results.json`.
        path: Where to, with or without the suffix.

    Returns:
        The two files, PNG first.
    """
    with paper_style():
        figure, axes = new_figure(2, 2, size=(9.4, 7.0))
        entropy, reward, over_time, frontier = axes.flat
        _training(entropy, results, "entropy")
        entropy.set(title="a  Policy entropy while training", ylabel="entropy (nats a token)")
        _training(reward, results, "reward")
        reward.set(title="b  Train reward", ylabel="share of correct completions")
        _over_time(over_time, results)
        draw_frontier(frontier, results, list(results["methods"]), bands=False)
        frontier.set(title="d  Along training: up and right is better")
        prompts = next(iter(results["methods"].values()))["prompts_per_batch"]
        for axis in (entropy, reward, over_time):
            axis.set_xlabel(f"batches of {prompts} prompts x 16 completions")
            axis.set_xlim(left=0)
        handles, labels = frontier.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=9)
        return save_figure(figure, path)


def _training(axis: Any, results: dict[str, Any], key: str) -> None:
    for label, style in styles(results["methods"]).items():
        curves = results["methods"][label]["curves"]
        batches = np.array(curves[0]["batch"])
        width = max(1, round(_SMOOTHING / batches[0]))
        lines = [smooth(np.array(curve[key]), width) for curve in curves]
        for line in lines if len(lines) > 1 else ():
            axis.plot(batches, line, color=style.color, linewidth=0.6, alpha=0.45)
        every = max(1, len(batches) // 6)
        axis.plot(batches, np.mean(lines, axis=0), marker=style.marker, markevery=every, **style.line())


def _over_time(axis: Any, results: dict[str, Any]) -> None:
    for label, style in styles(results["methods"]).items():
        points = results["methods"][label]["path"]
        batches = [point["batch"] for point in points]
        for name in ("pass@16", "pass@1"):
            if len(results["methods"]) <= _MOST_BANDS:
                low, high = ([point[name][end] for point in points] for end in ("low", "high"))
                axis.fill_between(batches, low, high, color=style.color, alpha=0.12, linewidth=0)
            axis.plot(batches, [point[name]["value"] for point in points], marker=style.marker, **style.line())
    split = _SPLIT_NAMES.get(results["split"], results["split"])
    axis.set(title=f"c  pass@k on {results['problems']} {split} puzzles", ylabel="pass@k")
    _name_lines(axis, results, "pass@16", above=False)
    _name_lines(axis, results, "pass@1", above=True)


def _name_lines(axis: Any, results: dict[str, Any], name: str, above: bool) -> None:
    """Write `name` above or below the middle of its group of lines, clear of their bands."""
    middles = [method["path"][len(method["path"]) // 2] for method in results["methods"].values()]
    bounds = [middle[name][end] for middle in middles for end in ("low", "high")]
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
