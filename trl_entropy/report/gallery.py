"""The page's figures, each with its data as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from ..law.points import RunLaw
from ..plots.curves import group_styles, plot_metric
from ..plots.dynamics_picture import plot_drivers, plot_dynamics, summarise
from ..plots.endpoints import plot_last_values
from ..plots.law_picture import LawLine, plot_law
from ..plots.style import METHODS, paper_style, series_style
from ..runlog.groups import Group, mean_over_seeds
from ..runlog.records import Run
from .sections import number, table
from .svg import inline_svg


SIZE = (4.5, 3.0)  # inches: about 1:1 on a phone, so that its type can be read there

# Key, title, unit; drawn in this order where logged.
CURVES = (
    ("reward", "Reward", "reward"),
    ("eval_reward", "Validation reward", "reward"),
    ("entropy", "Mean token entropy", "nats"),
    ("siren/entropy", "Entropy that SIREN holds to its anchor", "nats"),
    ("entropy/q10", "Token entropy, 10 % quantile", "nats"),
    ("entropy/q90", "Token entropy, 90 % quantile", "nats"),
    ("entropy/positive_advantage", "Entropy of tokens with positive advantage", "nats"),
    ("entropy/negative_advantage", "Entropy of tokens with negative advantage", "nats"),
    ("cov/mean", "Covariance of log-probability and advantage", "nats"),
    ("cov/selected_negative_share", "Selected tokens with negative advantage", "share"),
    ("siren/penalty", "SIREN penalty", "loss"),
    ("siren/nucleus_size", "Mean size of the nucleus", "words"),
    ("law/ceiling", "Ceiling, forecast during training", "reward"),
    ("completions/mean_length", "Mean length of completions", "tokens"),
    ("grad_norm", "Gradient norm", "norm"),
)


def curve_figures(groups: Sequence[Group]) -> list[str]:
    """A figure for each known metric that was logged."""
    figures = []
    for key, title, unit in CURVES:
        references = []
        if key == "siren/entropy":
            runs = [run for group in groups for run in group.runs if "siren/anchor" in run.metrics]
            anchors = {round(run.metrics["siren/anchor"].values[-1], 6) for run in runs}
            name = "anchor" if len(anchors) == 1 else "mean anchor"
            references = [(sum(anchors) / len(anchors), name)] if anchors else []
        with paper_style():
            figure = plot_metric(groups, key, title, unit, references, SIZE)
            if figure is None:
                continue
            what = f"{title} ({unit}) over optimizer steps for {', '.join(g.label for g in groups)}."
            svg = inline_svg(figure, f"m{len(figures)}", title, what)
        figures.append(_figure(svg, _curve_table(groups, key, unit)))
    return figures


def comparison_figures(groups: Sequence[Group]) -> list[str]:
    """Where the groups ended, with intervals over seeds."""
    figures = []
    for key, title, unit in CURVES[:3]:
        with paper_style():
            figure = plot_last_values(groups, key, f"{title}, last tenth", unit, (SIZE[0], 0.95 + 0.4 * len(groups)))
            if figure is not None:
                what = f"{title} at the end of each experiment with 95 % intervals over seeds; the table above has it."
                figures.append(_figure(inline_svg(figure, f"c{len(figures)}", title, what)))
    return figures


def law_figure(laws: Sequence[RunLaw], groups: Sequence[Group], most: int = 6) -> str:
    """Points and fits: of every run, or of the first of each group where they are too many to tell apart."""
    shown = list(laws)
    if len(shown) > most:
        first = {id(group.runs[0]) for group in groups}
        shown = [law for law in laws if id(law.run) in first][:most]
    styles = {id(run): style for group, style in zip(groups, group_styles(groups), strict=True) for run in group.runs}
    alone = len({styles[id(law.run)].color for law in shown}) == len(shown)
    lines = [
        LawLine(law.entropy, law.reward, law.fit, styles[id(law.run)] if alone else series_style(i, law.run.name))
        for i, law in enumerate(shown)
    ]
    if len(shown) == 1:
        lines = [LawLine(shown[0].entropy, shown[0].reward, shown[0].fit, lines[0].style, shown[0].forecast)]
    with paper_style():
        what = "Reward against mean token entropy, with the fitted law; the table beside it has the coefficients."
        svg = inline_svg(plot_law(lines, size=(5.4, 3.5)), "law", "The entropy law", what)
    left_out = len(laws) - len(shown)
    note = f"<p>{left_out} more runs are in the table only.</p>" if left_out else ""
    return _figure(svg) + note


def dynamics_part(run: Run, prefix: str) -> str:
    """The theorem's term beside the realised change, and the tokens behind it; empty without usable lines."""
    try:
        summary = summarise(run.dynamics)
    except ValueError:
        return ""
    text = (
        f"{len(summary.steps)} measurements. Minus the per-state covariance has the sign of the realised change in "
        f"{summary.state_sign_agreement:.0%} of them, minus the batch-centred one in {summary.sign_agreement:.0%}."
    )
    if math.isfinite(summary.state_correlation):
        text += (
            f" Smoothed over {summary.window}, their correlations with it are {number(summary.state_correlation, 2)} "
            f"and {number(summary.correlation, 2)}."
        )
    with paper_style():
        parts = [inline_svg(plot_dynamics(summary, SIZE), f"{prefix}-a", "Entropy dynamics", text)]
        drivers = plot_drivers(run.dynamics, SIZE)
        if drivers is not None:
            what = "Parts of the mean entropy change by probability of the token and sign of its advantage."
            parts.append(inline_svg(drivers, f"{prefix}-b", "Which tokens moved entropy", what))
    return f"<h3>{escape(run.name)}</h3><p>{escape(text)}</p>" + grid([_figure(part) for part in parts])


def grid(figures: Sequence[str]) -> str:
    """Figures beside each other, as many as fit."""
    return f'<div class="grid">{"".join(figures)}</div>'


def swatches(groups: Sequence[Group]) -> str:
    """The groups' names; one whose method is ours is followed by what it is called in the literature."""
    named = [f"{g.label} ({METHODS[g.method].label})" if g.method in METHODS else g.label for g in groups]
    return escape(", ".join(named))


def _figure(svg: str, data: str = "") -> str:
    details = f"<details><summary>Figures as a table</summary>{data}</details>" if data else ""
    return f"<figure>{svg}{details}</figure>"


def _curve_table(groups: Sequence[Group], key: str, unit: str, rows: int = 12) -> str:
    bands = [(group, mean_over_seeds(group, key)) for group in groups]
    found = [(group, band) for group, band in bands if band is not None]
    steps = sorted({int(s) for _, band in found for s in band.steps})
    chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, rows).round().astype(int))]
    values = [dict(zip(band.steps.tolist(), band.mean.tolist(), strict=True)) for _, band in found]
    body = [[str(step), *(number(v.get(step)) for v in values)] for step in chosen]
    return table(["step", *(group.label for group, _ in found)], body, f"{key} ({unit}), single steps")
