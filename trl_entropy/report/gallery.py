"""The page's pictures, each with its numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from markupsafe import Markup

from ..law.points import RunLaw
from ..plots.curves import group_styles, plot_metric
from ..plots.endpoints import plot_last_values
from ..plots.law_picture import LawLine, plot_law
from ..plots.pass_at_k import Curve, draw_pass_at_k, evaluated
from ..plots.style import MOST_LINES, new_figure, paper_style, series_style
from ..runlog.groups import Group, over_seeds
from .svg import inline_svg
from .tables import Table, number


SIZE = (4.5, 3.0)  # inches: about 1:1 on a phone, so that its type can be read there
# Key, title, unit; drawn in this order where logged
SCORE = (
    ("entropy", "Mean token entropy", "nats"),
    ("reward", "Reward", "reward"),
    ("eval_reward", "Validation reward", "reward"),
    ("heldout/pass_at_1", "Held-out pass@1", "share"),
)
COVARIANCE = (
    ("cov/mean", "Covariance of log-probability and advantage", "nats"),
    ("cov/max", "Largest covariance of a token", "nats"),
)
ACTED = (
    ("siren/entropy", "Entropy that SIREN holds to its anchor", "nats"),
    ("siren/kept_share", "Tokens that SIREN's peak mask kept", "share"),
    ("cov/selected_share", "Tokens selected by covariance", "share"),
    ("guard/scale", "The guard's factor on the coefficients", "factor"),
    ("advantage/prompts_with_gradient", "Prompts with a gradient", "share"),
    ("frac_reward_zero_std", "Prompts of equal rewards", "share"),
    ("completions/clipped_ratio", "Completions cut at their longest", "share"),
    ("faults/skipped_updates", "Updates left out so far", "steps"),
    ("faults/unscored_completions", "Completions without a score", "count"),
)
_NAMED = {key for key, _, _ in (*SCORE, *COVARIANCE, *ACTED)}
Metrics = Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Picture:
    """An inline SVG, and its numbers."""

    svg: Markup
    numbers: Table | None = None


def of_methods(groups: Sequence[Group]) -> Metrics:
    """What the methods of the runs log under their own keys and no list here names."""
    prefixes = tuple({f"{method.key}/" for g in groups for run in g.runs for method in run.methods or ()})
    keys = sorted({k for g in groups for run in g.runs for k in run.metrics if prefixes and k.startswith(prefixes)})
    return [(key, key.replace("/", ": ").replace("_", " "), "") for key in keys if key not in _NAMED]


class Gallery:
    """Draws the pictures of one page; ids are unique among them.

    Args:
        groups: What the lines are of.
    """

    def __init__(self, groups: Sequence[Group]):
        self.groups = groups
        self._ids = (f"p{i}" for i in count())

    def curves(self, metrics: Metrics) -> list[Picture]:
        """A picture for each of the metrics that was logged."""
        found = []
        for key, title, unit in metrics:
            references = _anchors(self.groups) if key == "siren/entropy" else []
            with paper_style():
                figure = plot_metric(self.groups, key, title, unit, references, SIZE)
                if figure is not None:
                    names = ", ".join(g.label for g in self.groups[:MOST_LINES])
                    found.append(self._picture(figure, title, f"{title} ({unit}) over optimizer steps for {names}."))
                    found[-1] = Picture(found[-1].svg, _curve_table(self.groups, key, unit))
        return found

    def ends(self, metrics: Metrics) -> list[Picture]:
        """Where the groups ended, with intervals over seeds."""
        found = []
        for key, title, unit in metrics:
            with paper_style():
                size = (SIZE[0], 0.95 + 0.4 * min(len(self.groups), MOST_LINES))
                figure = plot_last_values(self.groups, key, f"{title}, last tenth", unit, size)
                if figure is not None:
                    what = f"{title} at the end of each experiment with 95 % intervals over seeds."
                    found.append(self._picture(figure, title, what))
        return found

    def law(self, laws: Sequence[RunLaw]) -> Picture:
        """Points and fits: of every run, or of the first of each group where they are too many to tell apart."""
        shown = list(laws)
        if len(shown) > MOST_LINES:
            first = {id(group.runs[0]) for group in self.groups}
            shown = [law for law in laws if id(law.run) in first][:MOST_LINES]
        styles = {
            id(run): style
            for group, style in zip(self.groups, group_styles(self.groups), strict=True)
            for run in group.runs
        }
        alone = len({id(styles[id(law.run)]) for law in shown}) == len(shown)
        lines = [
            LawLine(
                law.entropy,
                law.reward,
                law.fit,
                styles[id(law.run)] if alone else series_style(i, law.run.name),
                law.forecast if len(shown) == 1 else None,
            )
            for i, law in enumerate(shown)
        ]
        with paper_style():
            what = "Reward against exp(H), with the fitted law; the table beside it has the coefficients."
            return self._picture(plot_law(lines, size=(5.4, 3.5)), "The entropy law", what)

    def pass_at_k(self) -> list[Picture]:
        """pass@k along k: measured while training at its start and end, and by evaluations beside the runs."""
        found = [("Held-out problems while training", _heldout(self.groups))]
        runs = [run for group in self.groups for run in group.runs]
        for run in runs:
            for results in run.evaluations:
                found += [
                    (benchmark if len(runs) == 1 else f"{benchmark}, {run.name}", curves)
                    for benchmark, curves in evaluated(results).items()
                ]
        pictures = []
        for title, curves in found:
            if curves:
                with paper_style():
                    figure, axes = new_figure(size=SIZE)
                    draw_pass_at_k(axes, curves, title)
                    ks = sorted({k for curve in curves.values() for k in curve})
                    what = f"pass@k against k of {', '.join(curves)}."
                    rows = [
                        [name, *(number(100 * curve[k][0] if k in curve else None) for k in ks)]
                        for name, curve in curves.items()
                    ]
                    numbers = Table(["model", *(f"pass@{k}" for k in ks)], rows, f"{title}, percent")
                    pictures.append(Picture(self._picture(figure, title, what).svg, numbers))
        return pictures

    def _picture(self, figure, title: str, what: str) -> Picture:
        return Picture(Markup(inline_svg(figure, next(self._ids), title, what)))


def _heldout(groups: Sequence[Group]) -> dict[str, Curve]:
    """The first and the last evaluation while training: of one group both, of several the first one's start."""
    found: dict[str, Curve] = {}
    for group in groups:
        keys = sorted({k for run in group.runs for k in run.metrics if k.startswith("heldout/pass_at_")})
        bands = {int(key.rpartition("_")[2]): over_seeds(group, key) for key in keys}
        points = {k: band for k, band in sorted(bands.items()) if band is not None}
        for place, name in ((0, "start"), (-1, "end" if len(groups) == 1 else group.label)):
            curve = {k: (float(b.middle[place]), float(b.low[place]), float(b.high[place])) for k, b in points.items()}
            if curve:
                step = next(iter(points.values())).steps[place]
                found.setdefault(f"{name}, step {step:g}" if name != "start" else name, curve)
    return found


def _anchors(groups: Sequence[Group]) -> list[tuple[float, str]]:
    runs = [run for group in groups for run in group.runs if "siren/anchor" in run.metrics]
    anchors = {round(run.metrics["siren/anchor"].values[-1], 6) for run in runs}
    return [(sum(anchors) / len(anchors), "anchor" if len(anchors) == 1 else "mean anchor")] if anchors else []


def _curve_table(groups: Sequence[Group], key: str, unit: str, rows: int = 12) -> Table:
    bands = [(group, over_seeds(group, key)) for group in groups]
    found = [(group, band) for group, band in bands if band is not None]
    steps = sorted({float(s) for _, band in found for s in band.steps})
    chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, rows).round().astype(int))]
    values = [dict(zip(band.steps.tolist(), band.middle.tolist(), strict=True)) for _, band in found]
    body = [[f"{step:g}", *(number(v.get(step)) for v in values)] for step in chosen]
    caption = f"{key} ({unit}), single steps" if unit else f"{key}, single steps"
    return Table(["step", *(group.label for group, _ in found)], body, caption)
