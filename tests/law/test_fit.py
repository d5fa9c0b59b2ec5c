"""The entropy law: coefficients, intervals, and the paper's curves."""

import doctest
import importlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from trl_entropy.law import fit_entropy_law, forecast_entropy_law

from .paper import PAPER_CURVES


def falling_entropy(points, start=1.0, end=0.05):
    """Entropy of a plain run: fast first, then slow."""
    t = np.linspace(0, 1, points)
    return end + (start - end) * np.exp(-4 * t)


def autocorrelated(points, rho, scale, seed):
    draws = np.random.default_rng(seed).normal(size=points)
    noise = np.empty(points)
    noise[0] = draws[0]
    for t in range(1, points):
        noise[t] = rho * noise[t - 1] + math.sqrt(1 - rho**2) * draws[t]
    return scale * noise


def test_two_points_worked_by_hand():
    # exp(H) is 2 and 1: a = (0.5 - 0.3) / (2 - 1), b = 0.5 + a
    fit = fit_entropy_law([math.log(2), 0.0], [0.3, 0.5])
    assert fit.a == pytest.approx(0.2)
    assert fit.b == pytest.approx(0.7)
    assert fit.ceiling == pytest.approx(0.5)
    assert fit.verdict == "unfit"
    assert "2 points" in fit.reasons[0]
    assert math.isnan(fit.a_interval[0])


@pytest.mark.parametrize("seed", range(10))
def test_noisy_curves_give_a_and_b_within_five_percent(seed):
    entropy = falling_entropy(200, start=1.2)
    reward = 0.6 - 0.2 * np.exp(entropy) + np.random.default_rng(seed).normal(0, 0.02, 200)
    fit = fit_entropy_law(entropy, reward)
    assert fit.a == pytest.approx(0.2, rel=0.05)
    assert fit.b == pytest.approx(0.6, rel=0.05)
    assert fit.verdict == "holds"
    assert fit.r2 > 0.9


@pytest.mark.parametrize("name", PAPER_CURVES)
@pytest.mark.parametrize("start", [0.5, 1.4])
def test_the_papers_curves_come_back_from_their_end_points(name, start):
    curve = PAPER_CURVES[name]
    first, last = (start, round(curve.reward(start), 1)), (0.0, round(curve.ceiling, 1))  # as printed: one decimal
    fit = fit_entropy_law(*zip(first, last, strict=True))
    assert fit.a == pytest.approx(curve.a, rel=0.05)
    assert fit.b == pytest.approx(curve.b, rel=0.05)
    assert fit.ceiling == pytest.approx(curve.ceiling, abs=0.1)


@pytest.mark.parametrize("name", PAPER_CURVES)
def test_a_forecast_from_36_of_236_clean_steps_is_within_the_papers_error(name):
    curve = PAPER_CURVES[name]
    entropy = falling_entropy(236, start=1.0)
    reward = np.array([curve.reward(h) for h in entropy]) + np.random.default_rng(1).normal(0, 0.3, 236)  # percent
    forecast = forecast_entropy_law(entropy, reward, fraction=36 / 236)
    assert forecast.cut == 36
    assert forecast.rmse < 0.9
    assert abs(forecast.overshoot) < 0.9


def test_blocks_cover_where_single_points_do_not():
    entropy = falling_entropy(236)
    covered = {"blocks": 0, "points": 0}
    for seed in range(60):
        reward = 0.6 - 0.2 * np.exp(entropy) + autocorrelated(236, 0.8, 0.02, seed)
        for name, block in (("blocks", None), ("points", 1)):
            low, high = fit_entropy_law(entropy, reward, samples=200, block=block, seed=seed).a_interval
            covered[name] += low <= 0.2 <= high
    assert covered["blocks"] >= 48  # 80 % of intervals meant to cover 95 %
    assert covered["points"] <= 40


def test_the_same_seed_gives_the_same_intervals_and_numpys_generator_is_untouched():
    entropy = falling_entropy(50)
    reward = 0.6 - 0.2 * np.exp(entropy) + autocorrelated(50, 0.5, 0.02, 3)
    before = np.random.get_state()[1].tolist()
    one, two = (fit_entropy_law(entropy, reward, seed=7) for _ in range(2))
    assert np.random.get_state()[1].tolist() == before
    assert one == two
    assert one.a_interval != fit_entropy_law(entropy, reward, seed=8).a_interval


def test_the_band_is_the_interval_of_the_ceiling_at_zero_entropy():
    entropy = falling_entropy(60)
    fit = fit_entropy_law(entropy, 0.6 - 0.2 * np.exp(entropy) + autocorrelated(60, 0.3, 0.02, 0))
    low, high = fit.band([0.0])
    assert (low[0], high[0]) == pytest.approx(fit.ceiling_interval)
    assert fit.predict(0.0) == pytest.approx(fit.ceiling)


def test_the_unit_of_the_reward_is_the_unit_of_the_coefficients():
    entropy = falling_entropy(40)
    reward = 0.6 - 0.2 * np.exp(entropy) + autocorrelated(40, 0.3, 0.02, 0)
    share, percent = fit_entropy_law(entropy, reward), fit_entropy_law(entropy, 100 * reward)
    assert percent.a == pytest.approx(100 * share.a)
    assert percent.ceiling_interval == pytest.approx(tuple(100 * v for v in share.ceiling_interval))
    assert percent.r2 == pytest.approx(share.r2)


def test_a_fit_is_plain_json():
    text = json.dumps(fit_entropy_law([1.0, 0.5], [0.1, 0.2]).as_dict(), allow_nan=False)
    assert json.loads(text)["a_interval"] == [None, None]


@pytest.mark.parametrize(
    ("entropy", "reward", "message"),
    [
        ([1.0, 0.5], [0.1], "same length"),
        ([[1.0]], [[0.1]], "same length"),
        ([1.0], [0.1], "at least 2"),
        ([1.0, math.nan], [0.1, 0.2], r"entropy\[1\] is nan"),
        ([1.0, 0.5], [math.inf, 0.2], r"reward\[0\] is inf"),
        ([55.0, 0.5], [0.1, 0.2], "nats"),
    ],
)
def test_series_that_cannot_be_fitted_are_refused(entropy, reward, message):
    with pytest.raises(ValueError, match=message):
        fit_entropy_law(entropy, reward)


def test_settings_that_make_no_sense_are_refused():
    h, r = [1.0, 0.5, 0.2], [0.1, 0.2, 0.3]
    for kwargs, message in (({"confidence": 1.0}, "confidence"), ({"samples": 0}, "samples"), ({"block": 4}, "block")):
        with pytest.raises(ValueError, match=message):
            fit_entropy_law(h, r, **kwargs)
    with pytest.raises(ValueError, match="fraction"):
        forecast_entropy_law(h, r, fraction=1.0)
    with pytest.raises(ValueError, match="at least 3"):
        forecast_entropy_law(h[:2], r[:2])


@pytest.mark.parametrize("module", ["fit", "forecast", "bootstrap", "verdict"])
def test_examples_run(module):
    module = importlib.import_module(f"trl_entropy.law.{module}")
    failed, tried = doctest.testmod(module, extraglobs={"np": np}, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0
    assert failed == 0


def test_no_torch_is_imported():
    code = (
        "import sys, trl_entropy.law, trl_entropy.plots, trl_entropy.report, trl_entropy.runlog;"
        "sys.exit('torch' in sys.modules or 'trl' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
