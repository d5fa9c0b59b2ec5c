import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from trl_entropy.evaluate import bootstrap_interval, distinct_correct, intervals, maj_at_k, paired_test, pass_at_k


def brute_pass(n, c, k):
    subsets = list(itertools.combinations(range(n), k))
    return sum(any(i < c for i in subset) for subset in subsets) / len(subsets)


def brute_maj(answers, correct, k):
    scores = []
    for subset in itertools.combinations(range(len(answers)), k):
        votes = Counter(answers[i] for i in subset if answers[i] is not None)
        winners = [a for a, v in votes.items() if v == max(votes.values())]
        right = {answers[i] for i in range(len(answers)) if correct[i]}
        scores.append(sum(w in right for w in winners) / len(winners) if winners else 0.0)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("n", range(1, 11))
def test_pass_at_k_equals_enumeration(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            assert pass_at_k(n, c, k) == pytest.approx(brute_pass(n, c, k), abs=1e-12)


def test_pass_at_k_by_hand():
    assert pass_at_k(4, 1, 2) == 0.5
    assert pass_at_k(5, 2, 3) == pytest.approx(0.9)
    assert pass_at_k(32, 0, 32) == 0.0
    assert pass_at_k(4096, 4096, 4000) == 1.0  # impossible to miss; the plain product overflows here


def test_pass_at_k_broadcasts():
    values = pass_at_k(np.array([4, 8]), np.array([1, 2]), np.array([[1], [2]]))
    np.testing.assert_allclose(values, [[0.25, 0.25], [0.5, 1 - 15 / 28]])


@pytest.mark.parametrize(
    ("n", "c", "k", "word"),
    [
        (4, 5, 1, "c must"),
        (4, -1, 1, "c must"),
        (4, 1, 5, "k must"),
        (4, 1, 0, "k must"),
        (0, 0, 0, "n must"),
        (4, 1.5, 1, "integers"),
        (4, True, 1, "integers"),
        ([4, 2], 1, 3, "k must"),
    ],
)
def test_pass_at_k_refuses(n, c, k, word):
    with pytest.raises(ValueError, match=word):
        pass_at_k(n, c, k)


def test_maj_at_k_equals_enumeration():
    generator = np.random.default_rng(0)
    for n in range(1, 9):
        for _ in range(12):
            labels = [None if a == 0 else int(a) for a in generator.integers(0, 5, n)]
            right = set(generator.choice(4, generator.integers(0, 3), replace=False) + 1)
            correct = [a in right for a in labels]
            for k in range(1, n + 1):
                assert maj_at_k(labels, correct, k) == pytest.approx(brute_maj(labels, correct, k), abs=1e-12)


def test_maj_at_k_by_hand():
    assert maj_at_k(["a", "b"], [True, False], 2) == pytest.approx(0.5)  # a tie is split
    assert maj_at_k([None, None, None, "a"], [False, False, False, True], 4) == pytest.approx(1.0)  # None has no vote
    assert maj_at_k([None, None], [False, False], 2) == 0.0
    assert maj_at_k(["a", "a", "b"], [False, False, True], 1) == pytest.approx(1 / 3)  # maj@1 is avg@n


def test_maj_at_1_is_the_mean_and_large_votes_stay_finite():
    generator = np.random.default_rng(1)
    labels = [int(a) for a in generator.integers(0, 40, 1500)]
    correct = [a == 3 for a in labels]
    assert maj_at_k(labels, correct, 1) == pytest.approx(np.mean(correct))
    assert 0.0 <= maj_at_k(labels[:512], correct[:512], 64) <= 1.0


def test_maj_at_k_agrees_with_sampling_at_the_papers_size():
    generator = np.random.default_rng(2)
    labels = [None if a == 0 else int(a) for a in generator.integers(0, 6, 32)]
    correct = [a == 2 for a in labels]
    scores = []
    for _ in range(4000):
        votes = Counter(labels[i] for i in generator.choice(32, 8, replace=False) if labels[i] is not None)
        winners = [a for a, v in votes.items() if v == max(votes.values())]
        scores.append((2 in winners) / len(winners))
    assert maj_at_k(labels, correct, 8) == pytest.approx(np.mean(scores), abs=4 * np.std(scores) / 4000**0.5)


@pytest.mark.parametrize(
    ("answers", "correct", "k", "word"),
    [
        (["a"], [True, False], 1, "flags"),
        (["a"], [True], 2, "k must"),
        (["a"], [True], 0, "k must"),
        (["a", "a"], [True, False], 1, "both correct and wrong"),
        ([None], [True], 1, "missing answer"),
    ],
)
def test_maj_at_k_refuses(answers, correct, k, word):
    with pytest.raises(ValueError, match=word):
        maj_at_k(answers, correct, k)


def test_distinct_correct():
    assert distinct_correct(["1+2", "2+1", "1+2", "9", None], [True, True, True, False, True]) == 2


def test_bootstrap_interval():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert bootstrap_interval(values) == (low, high)  # its own generator, seeded
    with pytest.raises(ValueError, match="NaN"):
        bootstrap_interval([0.0, float("nan")])
    with pytest.raises(ValueError, match="at least one problem"):
        bootstrap_interval([])


def test_paired_test():
    assert intervals.paired_test([0, 0, 0], [1, 1, 1]).p_value == 0.25
    assert intervals.paired_test([0.5, 0.5], [0.5, 0.5]).p_value == 1.0
    generator = np.random.default_rng(0)
    base = generator.uniform(size=200)
    better = intervals.paired_test(base, base + 0.1 + 0.05 * generator.normal(size=200))
    assert better.p_value < 0.001
    assert better.low < better.difference < better.high
    null = [
        intervals.paired_test(np.zeros(40), generator.normal(size=40), resamples=400, seed=s).p_value
        for s in range(100)
    ]
    assert np.mean(np.array(null) < 0.1) == pytest.approx(0.1, abs=0.09)  # the test holds its level
    with pytest.raises(ValueError, match="same problems"):
        intervals.paired_test([0.0], [0.0, 1.0])


def test_importing_the_estimators_does_not_import_torch():
    code = "import sys, trl_entropy.evaluate as e; e.pass_at_k(4, 1, 2); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_ratio_is_resampled_as_a_ratio():
    values, weights = np.array([1.0, 3.0, 2.0]), np.array([1.0, 3.0, 4.0])
    low, high = bootstrap_interval(values, weights=weights)
    draws = np.random.default_rng(0).integers(3, size=(10_000, 3))
    ratios = (values * weights)[draws].sum(1) / weights[draws].sum(1)
    assert (low, high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])))
    assert bootstrap_interval(values, weights=np.full(3, 7.0)) == pytest.approx(bootstrap_interval(values))
    for bad in ([1.0, 1.0], [1.0, 0.0, 1.0]):
        with pytest.raises(ValueError, match="positive weight"):
            bootstrap_interval(values, weights=bad)


def test_a_test_of_ratios_equals_enumeration_and_with_equal_weights_the_paired_test():
    a, b = np.array([0.1, 0.4, 0.3, 0.9]), np.array([0.5, 0.2, 0.6, 1.0])
    same = paired_test(a, b, weights=(np.ones(4), np.ones(4)))
    plain = paired_test(a, b)
    assert (same.difference, same.low, same.high) == pytest.approx((plain.difference, plain.low, plain.high))
    assert same.p_value == plain.p_value
    wa, wb = np.array([1.0, 5.0, 2.0, 1.0]), np.array([2.0, 1.0, 1.0, 4.0])
    found = paired_test(a, b, weights=(wa, wb))
    assert found.difference == pytest.approx((b @ wb) / wb.sum() - (a @ wa) / wa.sum())
    hits = 0
    for flips in itertools.product([0, 1], repeat=4):
        swap = np.array(flips, dtype=bool)
        first, second = np.where(swap, b, a), np.where(swap, a, b)
        first_weights, second_weights = np.where(swap, wb, wa), np.where(swap, wa, wb)
        statistic = (second @ second_weights) / second_weights.sum() - (first @ first_weights) / first_weights.sum()
        hits += abs(statistic) >= abs(found.difference) * (1 - 1e-12)
    assert found.p_value == pytest.approx(hits / 16)
    many = np.random.default_rng(0).normal([[0], [2]], size=(2, 40))
    unlike = paired_test(many[0], many[1], resamples=500, weights=(np.ones(40), np.full(40, 2.0)))
    assert unlike.p_value == pytest.approx(2 / 501)
    with pytest.raises(ValueError, match="4 problems against 3"):
        paired_test(a, b[:3], weights=(wa, wb[:3]))
