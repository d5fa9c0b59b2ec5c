"""Verdicts and votes on real grading: several spellings of one answer, ties, missing answers."""

import itertools
from collections import Counter

import pytest

from trl_entropy.evaluate.benchmarks import benchmark_named
from trl_entropy.evaluate.problems import Problem, load_problems
from trl_entropy.evaluate.sampling import Completion
from trl_entropy.evaluate.scores import mean_over_seeds, problem_figures, summary
from trl_entropy.evaluate.verdicts import grade
from trl_entropy.rewards import MathReward


@pytest.fixture(scope="module")
def reward():
    reward = MathReward(timeout=1.0, workers=1)
    yield reward
    reward.pool.close()


SPELLINGS = ["1/2", "0.5", r"\frac12", r"50\%"]
WRONG = ["1/3", r"\frac{2}{6}", "7", "7.0"]
TEXTS = [rf"so \boxed{{{answer}}}" for answer in SPELLINGS + WRONG] + ["I do not know"]


@pytest.fixture(scope="module")
def grades(reward):
    return grade([Problem("0", "?", r"\frac{1}{2}")], [TEXTS], "math", reward)


def test_equal_answers_carry_one_label(grades):
    labels = [g.label for g in grades[0]]
    assert labels[:4] == ["right"] * 4
    assert labels[4] == labels[5] != labels[6]
    assert labels[6] == labels[7]
    assert labels[8] is None
    assert [g.correct for g in grades[0]] == [True] * 4 + [False] * 5
    assert grades[0][8].verdict == "no_answer"


def test_figures_equal_enumeration_over_subsets(grades):
    completions = [[Completion(text, 3, False, 1.0) for text in TEXTS]]
    n, ks = len(TEXTS), range(1, len(TEXTS) + 1)
    figures = problem_figures(grades, completions, list(ks))
    for k in ks:
        passed, majority = [], []
        for subset in itertools.combinations(grades[0], k):
            passed.append(any(g.correct for g in subset))
            votes = Counter(g.label for g in subset if g.label is not None)
            winners = [a for a, v in votes.items() if v == max(votes.values())]
            majority.append(winners.count("right") / len(winners) if winners else 0)
        assert figures[f"pass@{k}"][0] == pytest.approx(sum(passed) / len(passed), abs=1e-12)
        if k > 1:
            assert figures[f"maj@{k}"][0] == pytest.approx(sum(majority) / len(majority), abs=1e-12)
    assert figures[f"avg@{n}"][0] == pytest.approx(4 / 9)
    assert figures["distinct_correct"][0] == 4
    assert figures["distinct"][0] == 3
    assert figures["no_answer"][0] == pytest.approx(1 / 9)
    assert figures["entropy"][0] == 1.0


def test_problems_do_not_share_labels(reward):
    problems = [Problem("0", "?", "1"), Problem("1", "?", "2")]
    texts = [[r"\boxed{2}", r"\boxed{x+1}"], [r"\boxed{2}", r"\boxed{1+x}"]]
    grades = grade(problems, texts, "math", reward)
    assert [[g.correct for g in group] for group in grades] == [[False, False], [True, False]]
    assert [len({g.label for g in group}) for group in grades] == [2, 2]


def test_unreadable_answers_vote_for_their_text(reward):
    problem = Problem("0", "?", "1")
    [grades] = grade([problem], [[r"\boxed{9^{9^{9^{9}}}}", r"\boxed{9^{9^{9^{9}}}}", r"\boxed{2}"]], "math", reward)
    assert grades[0].label == grades[1].label != grades[2].label
    assert grades[0].verdict == "timeout"


class Counting(MathReward):
    """Judges texts by a table, and counts what it is asked."""

    def __init__(self, equal=(), slow=()):
        super().__init__(workers=1)
        self.equal, self.slow, self.asked = set(equal), set(slow), 0

    def verdicts(self, golds, answers):
        self.asked += len(golds)
        return [
            "timeout" if {gold, answer} & self.slow else "equal" if (gold, answer) in self.equal else "different"
            for gold, answer in zip(golds, answers, strict=True)
        ]


def test_the_vote_costs_linearly_many_comparisons():
    texts = [rf"\boxed{{{i}}}" for i in range(64)] + [r"\boxed{0}", r"\boxed{70}"]
    counting = Counting(equal=[("0", "70")])
    [grades] = grade([Problem("0", "?", "-1")], [texts], "math", counting)
    assert counting.asked == 66 + sum(min(k, 8) for k in range(65))
    labels = [g.label for g in grades]
    assert labels[0] == labels[64] == labels[65]  # the most frequent answer leads, and the last one finds it
    assert len(set(labels)) == 64


def test_a_slow_answer_leads_no_class():
    counting = Counting()
    verdicts = counting.verdicts
    counting.verdicts = lambda golds, answers: verdicts(golds, answers) if counting.asked else first(golds, answers)

    def first(golds, answers):
        result = verdicts(golds, answers)
        counting.slow = {"1"}
        return result

    [grades] = grade([Problem("0", "?", "-1")], [[rf"\boxed{{{i}}}" for i in range(6)]], "math", counting)
    assert counting.asked == 6 + 0 + 1 + 0 + 1 + 2 + 3  # 1 meets 0 and both leave; 2 leads, then 3, 4, 5
    assert len({g.label for g in grades}) == 6


def test_countdown_votes_on_whole_chains():
    problem = load_problems(benchmark_named("countdown"), limit=1)[0]
    from trl_entropy.tasks import puzzles

    solutions = puzzles("heldout")[0].solutions
    [grades] = grade([problem], [[solutions[0], f" {solutions[0]}  ", solutions[-1], "", "1 + 1"]], "countdown")
    assert [g.correct for g in grades] == [True, True, True, False, False]
    assert grades[0].label == grades[1].label
    assert len({g.label for g in grades}) == 3 + (len(solutions) > 1)
    assert grades[3].label is None


def test_missing_entropy_is_left_out_of_the_summary(grades):
    completions = [[Completion(text, 3, True, None) for text in TEXTS]]
    figures = problem_figures(grades, completions, [1])
    assert "entropy" not in summary(figures)
    assert summary(figures)["truncated"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert mean_over_seeds([figures, figures])["tokens"][0] == 3


def test_unequal_sample_counts_are_refused(grades):
    with pytest.raises(ValueError, match="same number"):
        problem_figures([grades[0], grades[0][:2]], [[], []], [1])


def test_entropy_is_a_mean_over_tokens(grades):
    """9 tokens at 0.5 nats and 1 at 1.5 in each sample of the first problem, 30 at 2.0 in the second."""
    n = len(TEXTS)
    short = [Completion("", 9 if i % 2 else 1, False, 0.5 if i % 2 else 1.5) for i in range(n)]
    long = [Completion("", 30, False, 2.0)] * n
    figures = problem_figures([grades[0], grades[0]], [short, long], [1])
    odd, even = n // 2, n - n // 2
    first = (odd * 9 * 0.5 + even * 1 * 1.5) / (odd * 9 + even)
    assert figures["entropy"] == pytest.approx([first, 2.0])
    tokens = odd * 9 + even, 30 * n
    pooled = (tokens[0] * first + tokens[1] * 2.0) / sum(tokens)
    figure = summary(figures)["entropy"]
    assert figure["mean"] == pytest.approx(pooled)
    assert figure["low"] == pytest.approx(first)  # a resample may hold one problem only
    assert figure["high"] == pytest.approx(2.0)
    other = {**figures, "entropy": figures["entropy"] + 1, "tokens": 3 * figures["tokens"]}
    both = mean_over_seeds([figures, other])
    assert both["entropy"] == pytest.approx(figures["entropy"] + 0.75)  # three quarters of the tokens are the other's
