"""The model card's picture: entropy over training, and pass@k where the run was evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runlog.records import Run
from .style import BASELINE, SeriesStyle, new_figure, paper_style, styles_by_method


def plot_card(run: Run, path: str | Path, evaluations: Mapping[str, Mapping[int, float]] | None = None) -> bool:
    """Draw a run's entropy by optimizer step and, beside it, pass@k by k.

    The evaluations are label -> k -> pass@k; the first of several is drawn as the reference.

    Returns:
        Whether there was anything to draw; without, nothing is written.
    """
    panels = (["entropy"] if "entropy" in run.metrics else []) + (["pass"] if evaluations else [])
    if not panels:
        return False
    (style,) = styles_by_method(["plain" if run.method == "unknown" else run.method], [run.name])
    with paper_style():
        figure, axes = new_figure(1, len(panels), size=(4.6 * len(panels), 3.1))
        by_panel = dict(zip(panels, [axes] if len(panels) == 1 else list(axes), strict=True))
        if "entropy" in by_panel:
            _draw_entropy(by_panel["entropy"], run, style)
        if evaluations:
            _draw_pass(by_panel["pass"], evaluations, style)
        figure.savefig(path, dpi=120)
    return True


def _draw_entropy(axis: Any, run: Run, style: SeriesStyle) -> None:
    marker = {"marker": style.marker} if len(run.metrics["entropy"]) < 15 else {}
    nucleus = {"color": "#777777", "label": "nucleus, peak tokens"}
    for key, look in (("entropy", {"label": "all tokens", **style.line()}), ("siren/entropy", nucleus)):
        if key in run.metrics:
            axis.plot(run.metrics[key].steps, run.metrics[key].values, **look, **marker)
    if "siren/anchor" in run.metrics:
        anchor = run.metrics["siren/anchor"].values[-1]
        axis.axhline(anchor, color="#777777", linewidth=0.9, linestyle=":", label="anchor")
    axis.set(title="Policy entropy", xlabel="optimizer step", ylabel="nats a token")
    axis.set_ylim(bottom=0)
    axis.legend()


def _draw_pass(axis: Any, evaluations: Mapping[str, Mapping[int, float]], own: SeriesStyle) -> None:
    for index, (label, values) in enumerate(evaluations.items()):
        style = own if index or len(evaluations) == 1 else BASELINE
        ks = sorted(values)
        axis.plot(ks, [values[k] for k in ks], label=label, marker=style.marker, **style.line())
    axis.set_xscale("log", base=2)
    axis.set(title="pass@k", xlabel="k", ylabel="share of problems solved")
    ticks = sorted({k for values in evaluations.values() for k in values})
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.legend()
