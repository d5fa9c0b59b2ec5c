"""What the pictures show, read back from their artists."""

import numpy as np
import pytest

from trl_entropy.law import fit_entropy_law, forecast_entropy_law
from trl_entropy.plots.curves import group_styles, plot_last_values, plot_metric
from trl_entropy.plots.law_picture import LawLine, plot_law
from trl_entropy.plots.style import paper_style, series_style
from trl_entropy.runlog.groups import Group, end_values, group_runs, half_width, over_seeds
from trl_entropy.runlog.records import Metrics, Run, Series


def run(name, method, values, seed=0, **arguments):
    settings = {"method": method, "seed": seed, "arguments": {"seed": seed, **arguments}}
    series = Series(list(range(1, len(values) + 1)), [float(v) for v in values])
    return Run(name, name, Metrics(reward=series), settings)


def below(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_runs_that_differ_in_the_seed_are_one_group():
    runs = [run("s0", "siren", [1], 0, coef=1), run("p", "plain", [1]), run("s1", "siren", [2], 1, coef=1)]
    groups = group_runs(runs)
    assert [(g.label, [r.name for r in g.runs]) for g in groups] == [("GRPO", ["p"]), ("SIREN", ["s0", "s1"])]


def test_groups_of_one_method_are_called_by_what_differs():
    groups = group_runs(
        [run("a", "siren", [1], coef=1), run("b", "siren", [1], coef=2, lr=3), run("c", "unknown", [1])]
    )
    assert [g.label for g in groups] == ["SIREN, coef=1, lr=default", "SIREN, coef=2, lr=3", "c"]
    alike = [Run("x", "x", settings={"method": "plain"}), Run("y", "y", settings={"method": "plain"})]
    assert [g.label for g in group_runs(alike)] == ["GRPO (x)", "GRPO (y)"]


def test_a_run_is_called_by_the_methods_it_lists():
    one = Run("a", "a", settings={"method": "stare", "methods": [{"key": "stare", "name": "STARE"}], "arguments": {}})
    two = Run("b", "b", settings={"methods": [{"key": "maxrl", "name": "MaxRL"}, {"key": "kl_cov", "name": "KL-Cov"}]})
    bonus = Run("c", "c", settings={"methods": [], "arguments": {"entropy_coef": 0.01}})
    plain = Run("d", "d", settings={"methods": [], "arguments": {"lr": 1}})
    assert [group.label for group in group_runs([one, two, bonus, plain])] == [
        "GRPO", "STARE", "MaxRL + KL-Cov", "entropy bonus",
    ]  # fmt: skip


def test_the_interval_over_seeds_is_students():
    assert np.isnan(half_width(np.array([1.0])))
    quantiles = {3: 4.3027, 25: 2.0639, 41: 2.0211, 1001: 1.9623}  # of Student's t, n - 1 degrees of freedom
    for n, quantile in quantiles.items():
        values = np.arange(n, dtype=float)
        assert half_width(values) == pytest.approx(quantile * values.std(ddof=1) / np.sqrt(n), rel=1e-4)


def test_a_curve_is_the_median_and_the_range_over_the_steps_that_all_runs_have():
    values = ([1, 1, 1], [3, 3], [9, 5])
    group = Group("g", "plain", tuple(run(str(i), "plain", v) for i, v in enumerate(values)))
    band = over_seeds(group, "reward")
    assert band.steps.tolist() == [1, 2]
    assert (band.middle.tolist(), band.low.tolist(), band.high.tolist()) == ([3, 3], [1, 1], [9, 5])
    assert over_seeds(group, "entropy") is None
    assert end_values(group, "reward", 0.5).tolist() == [1, 3, 5]
    assert end_values(group, "reward", 0.5, first=True).tolist() == [1, 3, 9]


def test_runs_of_one_method_share_its_colour_and_differ_in_dash_marker_and_legend():
    groups = group_runs([run("p", "plain", [1]), run("a", "siren", [1], coef=1), run("b", "siren", [1], coef=2)])
    plain, first, second = group_styles(groups)
    assert first.color == second.color != plain.color
    assert (first.dash, first.marker) != (second.dash, second.marker)
    assert [style.label for style in (plain, first, second)] == ["GRPO", "SIREN, coef=1", "SIREN, coef=2"]
    alone = group_styles(groups[1:])  # one method only: colours tell its runs apart
    assert alone[0].color != alone[1].color
    unknown = group_styles(group_runs([Run("x", "x"), Run("y", "y")]))
    assert unknown[0].color != unknown[1].color


def test_a_curve_shows_the_median_the_seeds_and_the_reference():
    groups = group_runs([run("a", "siren", [1, 2], 0), run("b", "siren", [3, 4], 1), run("c", "plain", [5, 6])])
    with paper_style():
        axes = plot_metric(groups, "reward", "Reward", "share", [(0.5, "anchor")]).axes[0]
    assert below(axes.figure) == ["GRPO", "SIREN (2 seeds)"]
    assert [line.get_ydata().tolist() for line in axes.lines[1:4]] == [[2, 3], [1, 2], [3, 4]]  # median, each seed
    assert len(axes.collections) == 0  # the two seeds are their own band
    assert [text.get_text() for text in axes.texts] == ["anchor"]
    with paper_style():
        assert plot_metric(groups, "entropy", "", "") is None


def test_three_seeds_get_a_band_from_the_lowest_to_the_highest():
    groups = group_runs([run(name, "siren", [v, v + 1], v) for v, name in enumerate("abc")])
    with paper_style():
        axes = plot_metric(groups, "reward", "", "").axes[0]
    (band,) = axes.collections
    assert sorted({y for _, y in band.get_paths()[0].vertices.tolist()}) == [0, 1, 2, 3]


def test_long_runs_are_drawn_with_few_points_and_keep_their_last():
    groups = group_runs([run("a", "plain", np.arange(5000))])
    with paper_style():
        line = plot_metric(groups, "reward", "", "").axes[0].lines[-1]
    assert len(line.get_xdata()) <= 402
    assert line.get_xdata()[-1] == 5000


def test_long_names_are_shortened_and_the_laws_legend_covers_no_point():
    names = [f"a-run-with-a-name-that-no-legend-can-hold-and-more-of-it-seed-{i}" for i in range(5)]
    line = law_line()
    lines = [LawLine(line.entropy, line.reward, line.fit, series_style(i, name)) for i, name in enumerate(names)]
    with paper_style():
        figure = plot_law(lines, size=(5.4, 3.5))
        figure.canvas.draw()
        legend, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
        runs = [Run(name, name, Metrics(reward=Series([1, 2], [1.0, 2.0]))) for name in names]
        curves = plot_metric(group_runs(runs), "reward", "", "")
    assert legend.y1 <= axes.y0  # below the axes
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1
    assert axes.height >= 0.55 * 3.5 * figure.dpi  # the legend did not eat them
    shown = [text.split(":")[0] for text in below(figure)]
    assert len(set(shown)) == 5
    assert all(len(name) <= 32 and name.startswith("a-run") for name in shown)
    assert below(curves) == shown


def law_line(forecast=False):
    entropy = np.linspace(1.0, 0.1, 60)
    reward = 0.6 - 0.2 * np.exp(entropy) + np.random.default_rng(0).normal(0, 0.01, 60)
    held = forecast_entropy_law(entropy, reward, fraction=0.2) if forecast else None
    return LawLine(entropy, reward, fit_entropy_law(entropy, reward), series_style(0, "GRPO"), held)


def test_the_laws_line_over_exp_h_reaches_its_ceiling_at_zero_entropy():
    line = law_line(forecast=True)
    with paper_style():
        figure = plot_law([line])
    axes = figure.axes[0]
    curve = next(artist for artist in axes.lines if artist.get_label().startswith("GRPO: ceiling"))
    assert curve.get_xdata()[0] == 1
    assert curve.get_xdata()[-1] == pytest.approx(np.exp(line.entropy.max()))
    points = np.concatenate([artist.get_xdata() for artist in axes.lines[:2]])
    assert sorted(points) == pytest.approx(sorted(np.exp(line.entropy)))
    assert curve.get_ydata()[0] == pytest.approx(line.fit.ceiling)
    assert "forecast from 12 points" in below(figure)[1]


def test_an_unfit_law_is_not_drawn():
    flat = np.full(20, 0.5)
    line = LawLine(flat, np.linspace(0, 1, 20), fit_entropy_law(flat, np.linspace(0, 1, 20)), series_style(0, "GRPO"))
    with paper_style():
        assert below(plot_law([line])) == ["GRPO: no fit"]
        with pytest.raises(ValueError, match="at least one"):
            plot_law([])


def test_last_values_show_each_seed_and_the_mean():
    groups = group_runs([run("a", "siren", [1], 0), run("b", "siren", [3], 1), run("c", "plain", [5])])
    with paper_style():
        axes = plot_last_values(groups, "reward", "", "").axes[0]
        assert plot_last_values(groups, "entropy", "", "") is None
    points = sorted(x for line in axes.lines for x in np.atleast_1d(line.get_xdata()))
    assert {1, 2, 3, 5} <= set(points)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["GRPO", "SIREN"]


def test_no_more_than_six_lines_are_drawn():
    groups = group_runs([run(str(i), "siren", [i], coef=i) for i in range(8)])
    with paper_style():
        assert len(below(plot_metric(groups, "reward", "", ""))) == 6
        assert len(plot_last_values(groups, "reward", "", "").axes[0].get_yticklabels()) == 6
