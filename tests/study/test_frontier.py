"""The frontier comparison against numbers worked by hand, the bootstrap against known variances."""

import numpy as np
import pytest

from trl_entropy.study.frontier import (
    at,
    choose,
    compare,
    crossing,
    estimate,
    path,
    problem_weights,
    seed_weights,
)


def column(*values):
    return np.array(values, dtype=float)[:, None]


# (.30, .90) -> (.40, .70) -> (.42, .69), and (.30, .90) -> (.33, .88) -> (.36, .86)
PLAIN = column(0.30, 0.40, 0.42), column(0.90, 0.70, 0.69)
SLOW = column(0.30, 0.33, 0.36), column(0.90, 0.88, 0.86)


def test_the_first_crossing_is_read_off_between_two_evaluations():
    x, y = column(0.3, 0.5, 0.4, 0.6), column(0.9, 0.7, 0.75, 0.5)
    assert crossing(x, y, np.array([0.4])) == pytest.approx(0.8)  # on the first way up, not the second
    assert crossing(x, y, np.array([0.55])) == pytest.approx(0.75 - 0.25 * 0.75)  # from .4 to .6
    assert crossing(x, y, np.array([0.3])) == pytest.approx(0.9)
    assert np.isnan(crossing(x, y, np.array([0.61])))


def test_comparison_at_equal_pass1_worked_by_hand():
    """Up to .36: plain falls by 2 for 1, the other by .04 / .06 for 1, so the gap at .3 + d is d (2 - 2/3)."""
    found = compare(*PLAIN, *SLOW)
    assert found.top == pytest.approx(0.36)
    assert found.top_gap == pytest.approx(0.08)
    levels = 0.06 * np.arange(1, 21) / 20
    assert found.mean_gap == pytest.approx((levels * (2 - 2 / 3)).mean())
    assert np.isnan(found.best_gap)  # it never reaches plain's best, .42


def test_comparison_at_the_references_best():
    """The other way round the method passes .36 where it has .78, and the reference .86."""
    assert compare(*SLOW, *PLAIN).best_gap == pytest.approx(-0.08)
    assert compare(*SLOW, *PLAIN).mean_gap == pytest.approx(-compare(*PLAIN, *SLOW).mean_gap)


def test_a_path_that_never_rises_above_its_start_is_not_compared():
    falling = column(0.30, 0.29), column(0.9, 0.8)
    for found in (compare(*PLAIN, *falling), compare(*falling, *PLAIN)):
        assert np.isnan(found.mean_gap) and np.isnan(found.top) and np.isnan(found.top_gap)
    assert np.isnan(compare(*falling, *PLAIN).best_gap)


def test_a_method_on_the_references_line_gains_nothing_by_being_slow():
    slower = column(0.30, 0.35, 0.40), column(0.90, 0.80, 0.70)
    assert compare(*PLAIN, *slower).mean_gap == pytest.approx(0.0, abs=1e-12)


def test_draws_are_compared_each_on_its_own():
    x = np.concatenate([PLAIN[0], SLOW[0]], axis=1), np.concatenate([SLOW[0], PLAIN[0]], axis=1)
    y = np.concatenate([PLAIN[1], SLOW[1]], axis=1), np.concatenate([SLOW[1], PLAIN[1]], axis=1)
    assert compare(x[0], y[0], x[1], y[1]).top_gap == pytest.approx([0.08, -0.08])


def test_a_figure_at_equal_tokens():
    assert at(np.array([0.0, 100.0, 300.0]), column(0.3, 0.4, 0.5), 150.0) == pytest.approx(0.425)


def test_means_over_seeds_and_problems_worked_by_hand():
    values = np.array([[[0.0, 1.0, 1.0]], [[1.0, 1.0, 4.0]]])  # (2 seeds, 1 point, 3 problems)
    seeds = np.array([[0.5, 1.0], [0.5, 0.0]])  # the data; then the first seed alone
    problems = np.array([[1 / 3, 1.0], [1 / 3, 0.0], [1 / 3, 0.0]])  # the data; then the first problem alone
    assert path(values, seeds, problems).tolist() == [[pytest.approx(4 / 3), 0.0]]


def test_the_first_weights_are_the_datas_and_all_sum_to_one():
    for weights, items in ((problem_weights(7, 50), 7), (seed_weights(5, 50), 5)):
        assert weights.shape == (items, 51)
        assert weights[:, 0] == pytest.approx(1 / items)
        assert weights.sum(0) == pytest.approx(1.0)
    assert (seed_weights(1, 50) == 1).all()
    assert set(np.unique((seed_weights(5, 50)[:, 1:] * 4).round(9))) <= {0, 1, 2, 3, 4}  # 4 of 5 are drawn
    assert not np.array_equal(seed_weights(5, 50, seed=1), seed_weights(5, 50, seed=2))
    assert np.array_equal(problem_weights(7, 50), problem_weights(7, 50))


def test_the_bootstraps_variance_over_seeds_is_that_of_a_mean():
    """n - 1 of n draws: the mean's variance comes out as s^2 / n, not (n - 1) / n of that."""
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    means = values @ seed_weights(5, 200_000)[:, 1:]
    assert means.var() == pytest.approx(values.var(ddof=1) / 5, rel=0.02)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Two levels of noise, seeds and problems: of 300 experiments about 95 % of the intervals hold the true mean."""
    generator, hits, problems = np.random.default_rng(0), 0, problem_weights(60, 400)
    for experiment in range(300):
        values = 0.5 + generator.normal(0, 0.05, (8, 1, 1)) + generator.normal(0, 0.4, (1, 1, 60))
        found = estimate(path(values, seed_weights(8, 400, experiment), problems)[0])
        hits += found.low <= 0.5 <= found.high
    assert 0.90 <= hits / 300 <= 0.98


def test_a_figure_that_is_undefined_too_often_has_no_interval():
    draws = np.arange(101, dtype=float)
    assert (estimate(draws).value, estimate(draws).low) == (0.0, pytest.approx(1 + 0.025 * 99))
    draws[5:15] = np.nan
    assert np.isnan(estimate(draws).low) and np.isnan(estimate(draws).high)


def test_the_choice_of_a_setting():
    tried = {"weak": (0.40, 0.01), "middle": (0.385, 0.04), "strong": (0.33, 0.09)}
    assert choose(0.40, tried) == "middle"
    assert choose(0.45, tried) == "weak"  # none gets near: the best pass@1
    assert choose(0.40, tried, by_gap=False) == "weak"
