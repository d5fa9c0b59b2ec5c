"""A fit says so when the data cannot carry it."""

import numpy as np
import pytest

from trl_entropy.law import fit_entropy_law, forecast_entropy_law
from trl_entropy.law.verdict import bend, drawdown, noise_share

from .test_fit import falling_entropy


NOISE = np.random.default_rng(0).normal(0, 0.005, 100)
H = falling_entropy(100)


def reasons_of(entropy, reward):
    fit = fit_entropy_law(entropy, reward)
    return fit.verdict, " | ".join(fit.reasons)


def test_a_clean_run_holds_without_a_reason():
    assert reasons_of(H, 0.6 - 0.2 * np.exp(H) + NOISE) == ("holds", "")


def test_entropy_that_hardly_moved():
    entropy = np.linspace(0.50, 0.47, 100)
    verdict, reasons = reasons_of(entropy, 0.3 + NOISE)
    assert verdict == "unfit"
    assert "entropy moved by 0.024 nats only" in reasons


def test_constant_entropy_has_no_coefficients():
    fit = fit_entropy_law(np.full(20, 0.3), np.linspace(0, 1, 20))
    assert fit.verdict == "unfit"
    assert np.isnan(fit.a)
    assert fit.reasons == ("entropy is constant at 0.3 nats",)


def test_reward_that_falls_with_entropy():
    verdict, reasons = reasons_of(H, 0.2 + 0.1 * np.exp(H) + NOISE)
    assert verdict == "unfit"
    assert "reward did not rise as entropy fell" in reasons


def test_reward_that_rises_and_falls_back():
    reward = np.concatenate([np.linspace(0.2, 0.5, 50), np.linspace(0.5, 0.3, 50)]) + NOISE
    verdict, reasons = reasons_of(np.linspace(1.0, 0.1, 100), reward)
    assert verdict == "doubtful"
    assert "not monotone: it fell back by" in reasons


def test_reward_that_is_noise():
    verdict, reasons = reasons_of(H, 0.6 - 0.02 * np.exp(H) + 10 * NOISE)
    assert verdict == "doubtful"
    assert "R2 = 0." in reasons
    assert "is low" in reasons


def test_noise_in_entropy_is_named_with_its_bias():
    noisy = H + np.random.default_rng(1).normal(0, 0.2, 100)
    fit = fit_entropy_law(noisy, 0.6 - 0.2 * np.exp(H) + NOISE)
    assert fit.a < 0.2 * 0.85
    assert "biased toward 0" in " ".join(fit.reasons)


def test_points_that_bend_away_from_the_law():
    verdict, reasons = reasons_of(H, 0.6 - 0.05 * np.exp(2.5 * H) + NOISE)
    assert verdict == "doubtful"
    assert "bend away" in reasons


@pytest.mark.parametrize("points", [3, 8, 20, 37, 40, 100])
@pytest.mark.parametrize("level", [0.0, 0.1, 0.3, 0.7, 1.0])
def test_constant_reward(level, points):
    """Also where the mean of the constants is not the constant, for rounding."""
    fit = fit_entropy_law(falling_entropy(points), np.full(points, level))
    assert (fit.verdict, fit.a, fit.reasons) == ("unfit", 0.0, (f"reward is constant at {level:.3g}",))
    assert fit.ceiling == pytest.approx(level)
    assert np.isnan(fit.r2)
    assert np.isnan(fit.ceiling_interval).all()
    forecast = forecast_entropy_law(falling_entropy(points), np.full(points, level), fraction=0.4)
    assert forecast.rmse == pytest.approx(0.0, abs=1e-12)
    assert bend(np.exp(falling_entropy(points)), np.full(points, level)) == (0.0, 0.0)
    assert bend(np.full(points, 2.0), np.arange(points, dtype=float)) == (0.0, 0.0)


def test_entropy_that_is_constant_up_to_rounding():
    entropy = np.full(20, 0.3) + 1e-16 * np.arange(20)
    assert fit_entropy_law(entropy, np.linspace(0, 1, 20)).reasons == ("entropy is constant at 0.3 nats",)


def test_a_ceiling_far_outside_the_data_is_doubted():
    # Entropy never came below 1.5 nats: e^1.5 is a long way from e^0.
    entropy = np.linspace(1.65, 1.5, 40)
    reward = 0.9 - 0.1 * np.exp(entropy) + np.random.default_rng(2).normal(0, 0.03, 40)
    assert "the ceiling's interval" in reasons_of(entropy, reward)[1]


def test_an_overshooting_forecast_says_by_how_much():
    # Reward saturates 0.1 below what the first steps promise.
    reward = np.minimum(0.6 - 0.2 * np.exp(H), 0.25)
    forecast = forecast_entropy_law(H, reward, fraction=0.3)
    assert forecast.overshoot == pytest.approx(float(np.mean(forecast.predicted - reward[forecast.cut :])))
    assert forecast.overshoot > 0.05
    assert forecast.covered < 0.5


def test_drawdown_and_noise_share_by_hand():
    assert drawdown(np.array([0.0, 1.0, 0.25, 0.5])) == pytest.approx(0.75)
    assert drawdown(np.full(5, 2.0)) == 0.0
    # differences 1, -1, 1: mean square 1, half of it 0.5, variance 0.25: capped at 1
    assert noise_share(np.array([0.0, 1.0, 0.0, 1.0])) == 1.0
    assert noise_share(np.arange(100.0)) < 0.001
