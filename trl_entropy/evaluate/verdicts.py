"""From samples to verdicts and votes. Each sample is graded once."""

import logging
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ..rewards import MathReward, extract_answer
from .benchmarks import Grader
from .problems import Problem


_CONTENDERS, _SECONDS = 8, 10.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grade:
    """The grader's word on one sample (`trl_entropy.rewards.MathReward.verdicts`) and on the answer found in it.

    Equal labels are equal answers; None does not vote.
    """

    answer: str | None
    verdict: str
    correct: bool
    label: Hashable | None


def grade(
    problems: Sequence[Problem], texts: Sequence[Sequence[str]], grader: Grader, reward: MathReward | None = None
) -> list[list[Grade]]:
    """Grades of `texts[i]`, the samples of `problems[i]`.

    Math: all right answers carry one label; the wrong ones are compared with each other, so that `\\frac13` and
    `2/6` vote together. An answer that the parser cannot read votes for its own text. Countdown: the completion is the
    answer, so that two correct chains are two answers, and an empty completion is none.
    """
    if grader == "countdown":
        return [[_countdown(problem, text) for text in group] for problem, group in zip(problems, texts, strict=True)]
    own = reward is None
    reward = reward or MathReward()
    try:
        return _math(problems, texts, reward)
    finally:
        if own:
            reward.pool.close()


def _countdown(problem: Problem, text: str) -> Grade:
    from ..tasks import is_correct

    answer = " ".join(text.split()) or None
    correct = is_correct(text, problem.extra["numbers"], problem.extra["target"])
    return Grade(answer, "equal" if correct else "different" if answer else "no_answer", correct, answer)


def _math(problems: Sequence[Problem], texts: Sequence[Sequence[str]], reward: MathReward) -> list[list[Grade]]:
    answers = [[extract_answer(text, reward.require_box) for text in group] for group in texts]
    golds = [problem.gold for problem, group in zip(problems, answers, strict=True) for _ in group]
    flat = iter(reward.verdicts(golds, [answer for group in answers for answer in group]))
    verdicts = [[next(flat) for _ in group] for group in answers]
    labels = _wrong_labels(answers, verdicts, reward)
    return [
        [
            Grade(answer, verdict, verdict == "equal", "right" if verdict == "equal" else _label(answer, known))
            for answer, verdict in zip(group, words, strict=True)
        ]
        for group, words, known in zip(answers, verdicts, labels, strict=True)
    ]


def _label(answer: str | None, labels: dict[str, str]) -> str | None:
    return None if answer is None else labels.get(answer, f"text {answer.strip()}")


def _wrong_labels(
    answers: Sequence[Sequence[str | None]], verdicts: Sequence[Sequence[str]], reward: MathReward
) -> list[dict[str, str]]:
    """For each problem: wrong answer -> label. The k-th answers of all problems are compared in one batch.

    The most frequent answers come first, and each is compared with at most `_CONTENDERS` classes, those of the most
    frequent: a problem with n wrong answers costs at most 8 n comparisons, not n (n - 1) / 2. An answer that exceeds
    a limit of the grader in one of them leads no class, nor does the one it was compared with from there on. After 10
    seconds a problem, all together, the answers left vote for their own texts, and a warning counts them.
    """
    waiting = [
        [a for a, _ in Counter(a for a, v in zip(group, words, strict=True) if a and v == "different").most_common()]
        for group, words in zip(answers, verdicts, strict=True)
    ]
    labels: list[dict[str, str]] = [{} for _ in waiting]
    leaders: list[list[str]] = [[] for _ in waiting]  # the first answer seen of each class
    deadline = time.monotonic() + _SECONDS * len(waiting)
    for k in range(max(map(len, waiting), default=0)):
        if time.monotonic() > deadline:
            left = sum(len(group[k:]) for group in waiting)
            logger.warning(f"The vote took its {_SECONDS:.0f} s a problem; {left} wrong answers vote for their texts.")
            break
        active = [i for i, group in enumerate(waiting) if k < len(group)]
        pairs = [(leader, waiting[i][k]) for i in active for leader in leaders[i]]
        words = iter(reward.verdicts([a for a, _ in pairs], [b for _, b in pairs]))
        for i in active:
            answer, compared = waiting[i][k], {leader: next(words) for leader in leaders[i]}
            same = next((leader for leader, verdict in compared.items() if verdict == "equal"), None)
            failed = [leader for leader, verdict in compared.items() if verdict in ("timeout", "memory", "crash")]
            leaders[i] = [leader for leader in leaders[i] if leader not in failed]
            if same is None and not failed and len(leaders[i]) < _CONTENDERS:
                leaders[i].append(answer)
            labels[i][answer] = f"wrong {same or answer}"
    return labels
