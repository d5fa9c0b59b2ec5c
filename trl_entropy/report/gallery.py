"""The page's pictures, each with its numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from ..law.points import RunLaw
from ..plots.curves import group_styles, plot_last_values, plot_metric
from ..plots.law_picture import LawLine, plot_law
from ..plots.pass_at_k_picture import Curve, draw_pass_at_k, evaluated
from ..plots.style import BASELINE, MOST_LINES, SeriesStyle, new_figure, paper_style, series_style
from ..runlog.groups import Group, over_seeds
from .sheets import Table, number
from .svg import inline_svg


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
    ("frac_reward_zero_std", "Prompts of equal rewards", "share"),
    ("completions/clipped_ratio", "Completions cut at their longest", "share"),
    ("faults/skipped_updates", "Updates left out so far", "steps"),
    ("faults/unscored_completions", "Completions without a score", "count"),
)
HELDOUT = "heldout/pass_at_"
_NAMED = {key.partition("/")[0] for key, _, _ in ACTED}
Metrics = Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Picture:
    """An inline SVG, and its numbers."""

    svg: str
    numbers: Table | None = None


def of_methods(groups: Sequence[Group]) -> Metrics:
    """What the methods of the runs log under their own keys, of those that no list here names."""
    prefixes = {method.key for g in groups for run in g.runs for method in run.methods or ()} - _NAMED
    keys = {k for g in groups for run in g.runs for k in run.metrics if k.partition("/")[0] in prefixes}
    return [(key, key.replace("/", ": ").replace("_", " "), "") for key in sorted(keys)]


def of_most_samples(groups: Sequence[Group]) -> Metrics:
    """The largest k of the held-out pass@k that a run logged; pass@1 stands among the scores."""
    logged = {k for g in groups for run in g.runs for k in run.metrics if k.startswith(HELDOUT)}
    largest = max((int(key.removeprefix(HELDOUT)) for key in logged), default=1)
    return [(f"{HELDOUT}{largest}", f"Held-out pass@{largest}", "share")] if largest > 1 else []


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
        """Points and fits: of each run of a single group, of the first run of each of several."""
        first = {id(group.runs[0]): style for group, style in zip(self.groups, group_styles(self.groups), strict=True)}
        single = len(self.groups) == 1 and len(laws) > 1
        shown = [law for law in laws if single or id(law.run) in first][:MOST_LINES] or laws[:1]
        lines = [
            LawLine(
                law.entropy,
                law.reward,
                law.fit,
                first[id(law.run)] if not single and id(law.run) in first else series_style(i, law.run.name),
                law.forecast if len(shown) == 1 else None,
            )
            for i, law in enumerate(shown)
        ]
        with paper_style():
            what = "Reward against exp(H), with the fitted law; the table beside it has the coefficients."
            return self._picture(plot_law(lines, size=SIZE), "The entropy law", what)

    def pass_at_k(self) -> list[Picture]:
        """pass@k along k: measured while training at its start and end, and by evaluations beside the runs."""
        benchmarks: dict[str, dict[str, tuple[Curve, SeriesStyle]]] = {"Held-out problems while training": {}}
        styled = list(zip(self.groups, group_styles(self.groups), strict=True))
        for group, style in styled:
            names = ("start", "end" if len(self.groups) == 1 else group.label)
            for name, curve, look in zip(names, _heldout(group), (BASELINE, style), strict=True):
                if curve:
                    benchmarks["Held-out problems while training"].setdefault(name, (curve, look))
        runs = [(i, run, style) for group, style in styled for i, run in enumerate(group.runs)]
        for _, run, style in sorted(runs, key=lambda one: one[0]):  # the first run of each group first
            for benchmark, curves in (pair for results in run.evaluations for pair in evaluated(results).items()):
                for name, curve in curves.items():
                    look = style if name.partition("/")[0] == run.name else BASELINE
                    benchmarks.setdefault(benchmark, {}).setdefault(name, (curve, look))
        return [self._pass_at_k(title, curves) for title, curves in benchmarks.items() if curves]

    def _pass_at_k(self, title: str, styled: dict[str, tuple[Curve, SeriesStyle]]) -> Picture:
        curves = {name: curve for name, (curve, _) in styled.items()}
        with paper_style():
            figure, axes = new_figure(size=SIZE)
            draw_pass_at_k(axes, curves, title, [style for _, style in styled.values()])
            svg = self._picture(figure, title, f"pass@k against k of {', '.join(curves)}.").svg
        ks = sorted({k for curve in curves.values() for k in curve})
        rows = [[name, *(number(100 * c[k][0] if k in c else None) for k in ks)] for name, c in curves.items()]
        return Picture(svg, Table(["model", *(f"pass@{k}" for k in ks)], rows, f"{title}, percent"))

    def _picture(self, figure, title: str, what: str) -> Picture:
        return Picture(inline_svg(figure, next(self._ids), title, what))


def _heldout(group: Group) -> tuple[Curve, Curve]:
    """The first and the last evaluation while training, by k."""
    keys = {k for run in group.runs for k in run.metrics if k.startswith(HELDOUT)}
    bands = {int(key.rpartition("_")[2]): over_seeds(group, key) for key in keys}
    points = {k: band for k, band in sorted(bands.items()) if band is not None}
    start, end = (
        {k: (float(b.middle[place]), float(b.low[place]), float(b.high[place])) for k, b in points.items()}
        for place in (0, -1)
    )
    return start, end


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
