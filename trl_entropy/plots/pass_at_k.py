"""pass@k against k, with its interval over problems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .style import new_figure, paper_style, save_figure, series_style


def plot_pass_at_k(results: Mapping[str, Any], path: str | Path) -> list[Path]:
    """Draw the pass@k curves of a `results.json`, a line a model and a panel a benchmark.

    Args:
        results: the content of `results.json` as `trl-entropy eval` writes it.
        path: where to, with or without `.png`; a PNG and an SVG are written.

    Returns:
        The files written.

    Raises:
        ValueError: if no pass@k is among the figures.
    """
    groups = list(results["figures"])
    benchmarks = list(dict.fromkeys(group["benchmark"] for group in groups))
    models = list(dict.fromkeys(group["name"] for group in groups))
    curves = {(group["name"], group["benchmark"]): _curve(group["figures"]) for group in groups}
    if not any(curves.values()):
        raise ValueError("There is no pass@k among the figures; evaluate with --k.")
    with paper_style():
        figure, axes = new_figure(1, len(benchmarks), size=(1.2 + 4.0 * len(benchmarks), 3.4))
        panels = [axes] if len(benchmarks) == 1 else list(axes)
        for panel, benchmark in zip(panels, benchmarks, strict=True):
            for index, model in enumerate(models):
                curve = curves.get((model, benchmark))
                if not curve:
                    continue
                style = series_style(index, model)
                ks = [k for k, _ in curve]
                means, lows, highs = ([100 * point[key] for _, point in curve] for key in ("mean", "low", "high"))
                panel.plot(ks, means, label=style.label, marker=style.marker, **style.line())
                panel.fill_between(ks, lows, highs, color=style.color, alpha=0.13, linewidth=0)
            ticks = sorted({k for curve in curves.values() for k, _ in curve})
            panel.set_xscale("log", base=2)
            panel.set_xticks(ticks, [str(k) for k in ticks], minor=False)
            panel.set_ylim(bottom=0, top=max(panel.get_ylim()[1], 1))
            panel.set_title(benchmark)
            panel.set_xlabel("k")
        panels[0].set_ylabel("pass@k (%)")
        panels[0].legend(loc="best")
        return save_figure(figure, path)


def _curve(figures: Mapping[str, Mapping[str, float]]) -> list[tuple[int, Mapping[str, float]]]:
    found = [(re.fullmatch(r"pass@(\d+)", name), point) for name, point in figures.items()]
    return sorted(((int(match[1]), point) for match, point in found if match), key=lambda pair: pair[0])
