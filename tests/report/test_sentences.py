"""What the page says first, by code and number, against logs whose answer is known."""

import re

import numpy as np
import pytest

from trl_entropy.report.sentences import findings
from trl_entropy.runlog.groups import Group
from trl_entropy.runlog.records import Metrics, Run, Series


def group(method="plain", seeds=1, **metrics):
    """Runs whose keys are metrics; `__` stands for the slash."""
    names = [] if method == "plain" else [{"key": method, "name": method.upper()}]
    runs = []
    for seed in range(seeds):
        table = {key.replace("__", "/"): list(map(float, values)) for key, values in metrics.items()}
        series = {key: Series(list(range(1, len(v) + 1)), v) for key, v in table.items()}
        runs.append(Run(f"r{seed}", "r", Metrics(series), {"methods": names}))
    return Group(method, method, tuple(runs))


def found(*args, **metrics):
    return {finding.code: finding.text for finding in findings(group(*args, **metrics))}


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (0.24, "entropy_collapsed"),
        (0.26, "entropy_fell"),
        (0.79, "entropy_fell"),
        (0.81, "entropy_held"),
        (1.24, "entropy_held"),
        (1.26, "entropy_rose"),
        (2.01, "entropy_exploded"),
    ],
)
def test_entropy_by_its_share_of_the_start(end, code):
    """The first tenth of 20 values is 2 of them, 1 nat on average."""
    values = [0.9, 1.1, *[0.5] * 16, end - 0.01, end + 0.01]
    text = found(entropy=values)[code]
    assert [float(n) for n in re.findall(r"[\d.]+(?= |%)", text.replace(":", ""))][-1] == pytest.approx(100 * end)


def test_a_score_moves_where_the_difference_exceeds_its_error():
    """Successive differences of +-0.1: a step's variance is 0.005, that of a difference of means of 2 is 0.005."""
    noise = np.tile([0.0, 0.1], 10)
    half = 1.96 * np.sqrt(0.01 / 2)
    for rise, code in ((half + 0.02, "score_rose"), (half - 0.02, "score_flat"), (-half - 0.02, "score_fell")):
        steps = np.where(np.arange(20) < 10, 0.0, rise)
        text = found(reward=noise + steps)[code]
        assert f"({rise:+.2g} ±" in text
    flat = found(reward=noise)["score_flat"]
    assert f"± {half:.2g}" in flat


def test_held_out_scores_come_before_training_rewards():
    codes = found(reward=np.linspace(0, 1, 20), heldout__pass_at_1=[0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert "score_fell" in codes
    assert codes["score_fell"].startswith("Held-out")


def test_the_median_over_seeds_is_told():
    many = group(entropy=[1, 1, 1, 1], seeds=3)
    many.runs[0].metrics["entropy"].values[:] = [1, 1, 1, 9]
    assert {f.code for f in findings(many)} == {"entropy_held"}


def test_what_a_method_did():
    siren = found("siren", entropy=[1] * 4, siren__entropy=[0.6] * 4, siren__anchor=[0.8] * 4)
    assert "0.6 of 0.8 nats (75%)" in siren["siren_below"]
    cov = found("kl_cov", cov__selected_share=[0.002] * 4, cov__max=[3.0] * 4)
    assert "0.20% of tokens" in cov["tokens_selected"]
    none = found("kl_cov", cov__selected_share=[0.0] * 4)
    assert {"nothing_selected", "try_next"} <= set(none)
    assert found("maxrl", maxrl__solved_share=[0.1, 0.4])["method_ended"] == "MAXRL at the end: solved share 0.4."
    guarded = found("siren", guard__scale=[1, 0.5, 1])
    assert "0.5 to 1." in guarded["guard_acted"]
    assert "guard_acted" not in found("siren", guard__scale=[1, 1])


def test_what_stands_in_the_way():
    codes = found(
        entropy=[1] * 4, completions__clipped_ratio=[0, 0.3], frac_reward_zero_std=[0.2, 0.75],
        faults__skipped_updates=[1, 3],
    )  # fmt: skip
    assert codes["completions_cut"].startswith("30%")
    assert codes["no_gradient"].startswith("75%")
    assert codes["faults"].startswith("3 updates")
    advice = [f.text for f in findings(group(completions__clipped_ratio=[0.3], entropy=[1] * 4))]
    assert any("max_completion_length" in text for text in advice)
    assert {"completions_cut", "no_gradient"}.isdisjoint(
        found(entropy=[1] * 4, completions__clipped_ratio=[0.1], frac_reward_zero_std=[0.5])
    )


def test_what_to_try_depends_on_whether_a_method_is_on():
    falling = [1, 0.5, 0.2, 0.1]
    assert "siren_coef" in found(entropy=falling)["try_next"]
    assert "coefficient" in found("siren", entropy=falling)["try_next"]
    assert "entropy_guard" in found("siren", entropy=[1, 2, 3, 4])["try_next"]


def test_a_log_that_is_too_short_says_so():
    assert set(found(entropy=[1, 0.1, 0.1])) == {"too_short"}
    assert set(found()) == {"too_short"}
