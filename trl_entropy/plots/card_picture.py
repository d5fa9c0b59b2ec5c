"""The model card's picture: entropy over training, and pass@k where the run was evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .style import method_style, new_figure, paper_style


def plot_card(
    log_history: Sequence[Mapping[str, Any]],
    method: str,
    path: str | Path,
    evaluations: Mapping[str, Mapping[int, float]] | None = None,
) -> bool:
    """Draw a run's entropy by optimizer step and, beside it, pass@k by k.

    Args:
        log_history: the Trainer's log: rows with `step` and `entropy`, some with `siren/entropy` and `siren/anchor`.
        method: `plain`, `bonus`, `siren`, `clip_cov` or `kl_cov`: the line's look.
        path: the PNG to write.
        evaluations: label -> k -> pass@k. The first is drawn as the reference.

    Returns:
        Whether there was anything to draw; without, nothing is written.

    Example:
        ```python
        plot_card([{"step": 1, "entropy": 0.4}, {"step": 2, "entropy": 0.3}], "siren", "entropy.png")
        ```
    """
    curves = {key: _curve(log_history, key) for key in ("entropy", "siren/entropy", "siren/anchor")}
    panels = (["entropy"] if curves["entropy"] else []) + (["pass"] if evaluations else [])
    if not panels:
        return False
    with paper_style():
        figure, axes = new_figure(1, len(panels), size=(4.6 * len(panels), 3.1))
        by_panel = dict(zip(panels, [axes] if len(panels) == 1 else list(axes), strict=True))
        if "entropy" in by_panel:
            _draw_entropy(by_panel["entropy"], curves, method)
        if evaluations and "pass" in by_panel:
            _draw_pass(by_panel["pass"], evaluations, method)
        figure.savefig(path, dpi=120)
    return True


def _curve(log_history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    rows = [(row.get("step"), row.get(key)) for row in log_history]
    return [(x, y) for x, y in rows if isinstance(x, int | float) and isinstance(y, int | float) and y == y]


def _draw_entropy(axis: Any, curves: Mapping[str, list[tuple[float, float]]], method: str) -> None:
    style = method_style(method)
    marker = {"marker": style.marker} if len(curves["entropy"]) < 15 else {}
    axis.plot(*zip(*curves["entropy"], strict=True), label="all tokens", **style.line(), **marker)
    if curves["siren/entropy"]:
        axis.plot(*zip(*curves["siren/entropy"], strict=True), color="#777777", label="nucleus, peak tokens", **marker)
    if curves["siren/anchor"]:
        axis.axhline(curves["siren/anchor"][-1][1], color="#777777", linewidth=0.9, linestyle=":", label="anchor")
    axis.set(title="Policy entropy", xlabel="optimizer step", ylabel="nats a token")
    axis.set_ylim(bottom=0)
    axis.legend()


def _draw_pass(axis: Any, evaluations: Mapping[str, Mapping[int, float]], method: str) -> None:
    for index, (label, values) in enumerate(evaluations.items()):
        style = method_style(method if index or len(evaluations) == 1 else "plain")
        ks = sorted(values)
        axis.plot(ks, [values[k] for k in ks], label=label, marker=style.marker, **style.line())
    axis.set_xscale("log", base=2)
    axis.set(title="pass@k", xlabel="k", ylabel="share of problems solved")
    ticks = sorted({k for values in evaluations.values() for k in values})
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.legend()
