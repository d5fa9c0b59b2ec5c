"""Sums: splits share none, answers are right, and the check reads an expression and nothing else."""

import itertools
import random

import pytest

from trl_entropy.tasks import TASKS
from trl_entropy.tasks.sums import is_sum, read
from trl_entropy.tasks.task import SPLITS


SUMS = TASKS["sums"]


def asked(prompt):
    target, numbers = prompt.rstrip(":").split(" from ")
    return int(target), tuple(sorted(map(int, numbers.split(", "))))


def test_splits_share_no_sum_and_hold_all_that_there_are():
    splits = {split: [asked(prompt) for prompt in SUMS.prompts(split)] for split in SPLITS}
    assert {split: len(sums) for split, sums in splits.items()} == {
        "warmup": 400,
        "train": 433,
        "selection": 100,
        "heldout": 100,
    }
    reached = set()
    for a, b, c in itertools.product(range(2, 10), repeat=3):
        for first, second in itertools.product("+-*", repeat=2):
            for form in (f"{a} {first} {b} {second} {c}", f"({a} {first} {b}) {second} {c}"):
                reached.add((eval(form), tuple(sorted((a, b, c)))))
    every = [one for sums in splits.values() for one in sums]
    assert len(every) == len(set(every))
    assert set(every) == {(value, numbers) for value, numbers in reached if 10 <= value <= 99}


def test_the_same_sums_in_every_process():
    assert SUMS.prompts("warmup")[0] == "28 from 2, 9, 5:"
    assert SUMS.prompts("heldout")[0] == "10 from 2, 7, 2:"


def test_lessons_are_right_and_most_have_several():
    lessons = SUMS.lessons()
    assert [prompt for prompt, _ in lessons] == list(SUMS.prompts("warmup"))
    for prompt, answers in lessons:
        target, numbers = asked(prompt)
        assert len(answers) == len(set(answers)) > 0
        for answer in answers:
            assert eval(answer) == target
            assert sorted(int(sign) for sign in answer if sign.isdigit()) == list(numbers)
    assert sum(len(answers) > 1 for _, answers in lessons) > 0.9 * len(lessons)


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("3 * 5 + 8", True),
        (" 8 + 5*3\n", True),
        ("8 + (3 * 5)", True),
        ("3 * (5 + 8)", False),  # 39
        ("23", False),
        ("20 + 3", False),
        ("3 * 5 + 8 + 8 - 8", False),
        ("3 * 5 + 8 = 23", False),
        ("38 - 15", False),
        ("", False),
    ],
)
def test_right_and_wrong(completion, right):
    assert is_sum("23 from 3, 5, 8:", completion) is right
    assert SUMS.reward(["23 from 3, 5, 8:"], [completion]) == [float(right)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 +",
        "3 5",
        "05 + 3",
        "3 ** 5",
        "-3 + 5",
        "3 / 5",
        "3 * 5 = 15",
        "three",
        "(3 + 5",
        "()",
        "3(5)",
        "٣ + 5",
        "3, 5",
    ],
)
def test_what_is_no_expression(text):
    assert read(text) is None
    assert SUMS.readable is not None and not SUMS.readable(text)


def test_any_characters_are_read_without_an_error():
    choice = random.Random(0)
    texts = ["".join(choice.choices("0123456789+-*() ", k=choice.randint(1, 12))) for _ in range(3000)]
    found = [read(text) for text in texts]
    assert 0.02 < sum(one is not None for one in found) / len(found) < 0.5
    for text, one in zip(texts, found, strict=True):
        if one is not None:
            assert one[1] == eval(text.strip())
