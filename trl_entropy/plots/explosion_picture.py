"""Entropy, nucleus and unreadable answers over batches: what an entropy bonus does to a large vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .frontier_picture import styles
from .style import new_figure, paper_style, save_figure


LABELS = {
    "entropy": "entropy, nats a token",
    "outside": "mass outside the nucleus",
    "nucleus": "words in the nucleus",
    "unreadable": "unreadable answers, share",
}


def plot_explosion(results: Mapping[str, Any], path: str | Path) -> list[Path]:
    """Write four curves of at most six methods as PNG and SVG; the two files, PNG first.

    Args:
        results: from `trl_entropy.study.compared`.
        path: of the PNG.
    """
    with paper_style():
        figure, axes = new_figure(size=(7.2, 5.2), rows=2, columns=2)
        for axis, (name, label) in zip(axes.flat, LABELS.items(), strict=True):
            for key, style in styles(results["methods"]).items():
                points = results["methods"][key]["path"]
                axis.plot(
                    [point["batch"] for point in points],
                    [point[name] for point in points],
                    marker=style.marker,
                    label=style.label,
                    **style.line(),
                )
            axis.set(xlabel="batch", ylabel=label)
            if name == "nucleus":
                axis.set_yscale("log")
                axis.yaxis.set_major_formatter("{x:,.0f}")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return save_figure(figure, path)
