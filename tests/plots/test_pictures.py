"""What the figures show, read back from their artists."""

import numpy as np
import pytest

from trl_entropy.law import fit_entropy_law, forecast_entropy_law
from trl_entropy.plots.curves import group_styles, plot_metric
from trl_entropy.plots.dynamics_picture import plot_drivers, plot_dynamics, summarise
from trl_entropy.plots.endpoints import plot_last_values
from trl_entropy.plots.law_picture import LawLine, plot_law
from trl_entropy.plots.style import METHODS, paper_style, series_style
from trl_entropy.runlog.groups import Group, group_runs, half_width, last_values, mean_over_seeds
from trl_entropy.runlog.records import Run, Series


def run(name, method, values, seed=0, **arguments):
    settings = {"method": method, "seed": seed, "arguments": {"seed": seed, **arguments}}
    series = Series(list(range(1, len(values) + 1)), [float(v) for v in values])
    return Run(name, name, {"reward": series}, settings)


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_runs_that_differ_in_the_seed_are_one_group():
    runs = [run("s0", "siren", [1], 0, coef=1), run("p", "plain", [1]), run("s1", "siren", [2], 1, coef=1)]
    groups = group_runs(runs)
    assert [(g.label, [r.name for r in g.runs]) for g in groups] == [("plain", ["p"]), ("siren", ["s0", "s1"])]


def test_groups_of_one_method_are_called_by_what_differs():
    groups = group_runs(
        [run("a", "siren", [1], coef=1), run("b", "siren", [1], coef=2, lr=3), run("c", "unknown", [1])]
    )
    assert [g.label for g in groups] == ["siren, coef=1, lr=default", "siren, coef=2, lr=3", "c"]
    alike = [Run("x", "x", settings={"method": "plain"}), Run("y", "y", settings={"method": "plain"})]
    assert [g.label for g in group_runs(alike)] == ["plain (x)", "plain (y)"]


def test_the_interval_over_seeds_is_students():
    group = Group("g", "plain", tuple(run(str(s), "plain", [v, v + 1]) for s, v in enumerate((1.0, 2.0, 3.0))))
    band = mean_over_seeds(group, "reward")
    assert band.mean.tolist() == [2, 3]
    assert band.low[0] == pytest.approx(2 - 4.303 / np.sqrt(3), abs=1e-3)  # t(2) 4.303, standard deviation 1
    assert np.isnan(half_width(np.array([1.0])))
    quantiles = {25: 2.0639, 32: 2.0395, 41: 2.0211, 61: 2.0003, 121: 1.9799, 1001: 1.9623}  # of Student's t, n - 1
    for n, quantile in quantiles.items():
        values = np.arange(n, dtype=float)
        assert half_width(values) == pytest.approx(quantile * values.std(ddof=1) / np.sqrt(n), rel=1.5e-3)
    assert last_values(group, "reward", 0.5).tolist() == [2, 3, 4]


def test_a_mean_is_over_the_steps_that_all_runs_have():
    group = Group("g", "plain", (run("a", "plain", [1, 1, 1]), run("b", "plain", [3, 3])))
    assert mean_over_seeds(group, "reward").steps.tolist() == [1, 2]
    assert mean_over_seeds(group, "entropy") is None


def test_a_method_has_its_own_look_only_where_it_is_the_only_one():
    groups = group_runs([run("p", "plain", [1]), run("a", "siren", [1], coef=1), run("b", "siren", [1], coef=2)])
    plain, first, second = group_styles(groups)
    assert plain == METHODS["plain"]
    assert len({plain.color, first.color, second.color}) == 3
    assert first.label == "siren, coef=1"


def test_a_curve_shows_the_mean_the_band_and_the_reference():
    groups = group_runs([run("a", "siren", [1, 2], 0), run("b", "siren", [3, 4], 1), run("c", "plain", [5, 6])])
    with paper_style():
        axes = plot_metric(groups, "reward", "Reward", "share", [(0.5, "anchor")]).axes[0]
    assert labels(axes) == ["GRPO", "SIREN (2 seeds)"]
    assert [line.get_ydata().tolist() for line in axes.lines[1:4]] == [[2, 3], [1, 2], [3, 4]]  # the mean, each seed
    assert len(axes.collections) == 0  # no band of two seeds: it would be 13 standard deviations wide
    assert [text.get_text() for text in axes.texts] == ["anchor"]
    with paper_style():
        assert plot_metric(groups, "entropy", "", "") is None


def test_three_seeds_get_a_band_that_does_not_flatten_the_curves():
    groups = group_runs([run(name, "siren", [v, v + 1], v) for v, name in enumerate("abc")])
    with paper_style():
        axes = plot_metric(groups, "reward", "", "").axes[0]
    assert len(axes.collections) == 1
    assert axes.get_ylim() == pytest.approx((-0.45, 3.45))  # the seeds' range and 15 %; the band goes further


def test_long_runs_are_drawn_with_few_points_and_keep_their_last():
    groups = group_runs([run("a", "plain", np.arange(5000))])
    with paper_style():
        line = plot_metric(groups, "reward", "", "").axes[0].lines[-1]
    assert len(line.get_xdata()) <= 402
    assert line.get_xdata()[-1] == 5000


def below(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_long_names_are_shortened_and_the_laws_legend_covers_no_point():
    names = [f"a-run-with-a-name-that-no-legend-can-hold-and-more-of-it-seed-{i}" for i in range(5)]
    line = law_line()
    lines = [LawLine(line.entropy, line.reward, line.fit, series_style(i, name)) for i, name in enumerate(names)]
    with paper_style():
        figure = plot_law(lines, size=(5.4, 3.5))
        figure.canvas.draw()
        legend, axes = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
        runs = [Run(name, name, {"reward": Series([1, 2], [1.0, 2.0])}) for name in names]
        curves = plot_metric(group_runs(runs), "reward", "", "")
    assert legend.y1 <= axes.y0  # below the axes
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1
    assert axes.height >= 0.55 * 3.5 * figure.dpi  # the legend did not eat them
    shown = [text.split(":")[0] for text in below(figure)]
    assert len(set(shown)) == 5
    assert all(len(name) <= 32 and name.startswith("a-run") for name in shown)
    assert [text.get_text() for text in curves.axes[0].get_legend().get_texts()] == shown


def law_line(forecast=False):
    entropy = np.linspace(1.0, 0.1, 60)
    reward = 0.6 - 0.2 * np.exp(entropy) + np.random.default_rng(0).normal(0, 0.01, 60)
    held = forecast_entropy_law(entropy, reward, fraction=0.2) if forecast else None
    return LawLine(entropy, reward, fit_entropy_law(entropy, reward), METHODS["plain"], held)


def test_the_laws_curve_reaches_its_ceiling_at_zero_entropy():
    line = law_line(forecast=True)
    with paper_style():
        figure = plot_law([line])
    axes = figure.axes[0]
    curve = next(artist for artist in axes.lines if artist.get_label().startswith("GRPO: ceiling"))
    assert curve.get_xdata()[0] == 0
    assert curve.get_ydata()[0] == pytest.approx(line.fit.ceiling)
    assert "forecast from 12 points" in below(figure)[1]


def test_an_unfit_law_is_not_drawn():
    flat = np.full(20, 0.5)
    line = LawLine(flat, np.linspace(0, 1, 20), fit_entropy_law(flat, np.linspace(0, 1, 20)), METHODS["plain"])
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


def dynamics_rows(sign=-1):
    draws = np.random.default_rng(0).normal(0.1, 0.05, 20)
    return [
        {"step": i, "covariance": c, "state_covariance": 2 * c, "entropy_change": sign * c / 10,
         "drivers": [{"sign": "+", "logp": [None, -1.0], "change": c},
                     {"sign": "-", "logp": [-1.0, None], "change": 0}]}
        for i, c in enumerate(draws)
    ]  # fmt: skip


def test_the_summary_of_the_dynamics():
    agree, disagree = summarise(dynamics_rows()), summarise(dynamics_rows(sign=1))
    assert (agree.correlation, agree.sign_agreement) == (pytest.approx(1.0), 1.0)
    assert (disagree.state_correlation, disagree.state_sign_agreement) == (pytest.approx(-1.0), 0.0)
    assert np.isnan(summarise(dynamics_rows()[:14]).correlation)  # too few to say
    damaged = [*dynamics_rows(), {"step": 99}, {"step": "x", "covariance": 1}]
    assert len(summarise(damaged).steps) == 20
    with pytest.raises(ValueError, match="none with step, covariance"):
        summarise([{"step": 1}])
    with paper_style():
        assert len(plot_dynamics(agree).axes[0].lines) == 5


def test_drivers_are_the_mean_over_measurements():
    rows = dynamics_rows()
    with paper_style():
        axes = plot_drivers(rows).axes[0]
        assert plot_drivers([{"step": 1}]) is None
    heights = [patch.get_height() for patch in axes.patches]
    assert heights[0] == pytest.approx(1000 * np.mean([row["drivers"][0]["change"] for row in rows]))
    assert [text.get_text() for text in axes.get_xticklabels()] == ["<37%", ">37%"]


def test_damaged_lines_of_the_dynamics_are_left_out():
    good = {"step": 1, "covariance": 0.5, "state_covariance": 0.5, "entropy_change": -0.1}
    drivers = [{"sign": "+", "logp": [None, -1.0], "share": 0.5, "covariance": 0.1, "change": 0.25}]
    bad = [{"logp": [None, -1.0], "change": 1.0}, {"sign": "+", "logp": 3, "change": 1.0}, "x", None]
    bad += [
        {"sign": "+", "logp": [None, -1.0], "change": float("nan")},
        {"sign": "+", "logp": ["a", "b"], "change": 1.0},
    ]
    rows = [
        {**good, "drivers": drivers + bad},
        {**good, "drivers": {"a": 1}},
        {**good, "step": 2, "covariance": np.nan},
    ]
    rows += [{**good, "step": 3, "entropy_change": 10**400}, {**good, "step": True}]
    assert summarise(rows).steps.tolist() == [1, 1]
    with paper_style():
        bars = plot_drivers(rows).axes[0].patches
        assert plot_drivers([{"drivers": bad}]) is None
    assert [bar.get_height() for bar in bars] == [250.0, 0.0]
