"""Sums: three numbers and the operators between them, in plain text, for a pretrained model with its own vocabulary.

A prompt gives a target and three numbers, `23 from 3, 5, 8:`. A correct completion is an expression, `3 * 5 + 8`. The
rules:

* three numbers from 2 to 9, each used exactly once, in any order;
* the operators `+`, `-` and `*` with their usual precedence, and parentheses;
* the value is the target, from 10 to 99.

All prompts have one length in tokens wherever a digit is a token. There are 1,033 sums with two right answers or more
for most, all enumerated.
"""

from __future__ import annotations

import ast
import operator
import random
import re
from functools import cache
from itertools import combinations_with_replacement, permutations, product

from .task import SPLITS, Split, Task


BASE = "runs/smollm2"
SMALLEST, LARGEST = 2, 9
TARGETS = range(10, 100)
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_ALPHABET = re.compile(r"[-+*() 0-9]+")
_SIZES: dict[Split, int] = {"warmup": 400, "train": 433, "selection": 100, "heldout": 100}


def read(text: str) -> tuple[list[int], int] | None:
    """The numbers of an expression in ascending order and its value; None for what is no expression.

    Example:

        >>> read("(8 - 3) * 5"), read("8 - * 3"), read("the answer is 8")
        (([3, 5, 8], 25), None, None)
    """
    text = " ".join(text.split())
    if not _ALPHABET.fullmatch(text):
        return None
    numbers: list[int] = []

    def value(node: ast.AST) -> int:
        match node:
            case ast.BinOp(left, op, right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](value(left), value(right))
            case ast.Constant(int(number)):
                numbers.append(number)
                return number
        raise ValueError

    try:
        result = value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return None
    return sorted(numbers), result


def is_sum(prompt: str, completion: str) -> bool:
    """Whether `completion` is an expression over the numbers of `prompt` that gives its target.

    Example:

        >>> is_sum("23 from 3, 5, 8:", " 8 + 5 * 3"), is_sum("23 from 3, 5, 8:", "3 * 5 + 8 = 23")
        (True, False)
    """
    target, *numbers = map(int, re.findall(r"\d+", prompt))
    return read(completion) == (sorted(numbers), target)


@cache
def _answers() -> dict[str, list[str]]:
    """Every prompt with its answers: those without parentheses, and those where they change the value."""
    found: dict[str, list[str]] = {}
    for numbers in combinations_with_replacement(range(SMALLEST, LARGEST + 1), 3):
        for (a, b, c), (x, y) in product(sorted(set(permutations(numbers))), product("+-*", repeat=2)):
            forms = [f"{a} {x} {b} {y} {c}"]
            if (x == "*") != (y == "*"):
                forms.append(f"{a} * ({b} {y} {c})" if x == "*" else f"({a} {x} {b}) * {c}")
            for form in forms:
                _, value = read(form) or ([], 0)
                if value in TARGETS:
                    found.setdefault(f"{value} from {a}, {b}, {c}:", []).append(form)
    return _asked_once(found)


def _asked_once(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """One prompt for each target and set of numbers, which stand in it in random order."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for prompt in found:
        target, *numbers = map(int, re.findall(r"\d+", prompt))
        groups.setdefault((target, *sorted(numbers)), []).append(prompt)
    choice = random.Random("sums")
    return {
        choice.choice(prompts): [form for prompt in prompts for form in found[prompt]]
        for _, prompts in sorted(groups.items())
    }


@cache
def _split() -> dict[Split, tuple[str, ...]]:
    prompts = list(_answers())
    random.Random("splits").shuffle(prompts)
    drawn = iter(prompts)
    return {split: tuple(next(drawn) for _ in range(_SIZES[split])) for split in SPLITS}


SUMS = Task(
    name="sums",
    prompts=lambda split: _split()[split],
    solved=is_sum,
    longest=16,
    vocabulary=(),
    lessons=lambda: [(prompt, _answers()[prompt]) for prompt in _split()["warmup"]],
    seconds_per_batch=280.0,
    warmup={"model": BASE, "steps": 80, "batch_size": 16, "learning_rate": 1e-4},
    training={"learning_rate": 1e-5, "bf16": True},
    readable=lambda completion: read(completion) is not None,
    base_made_by="python scripts/prepare_smollm2.py",
)
