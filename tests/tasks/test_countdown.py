"""The puzzles are all there, solvable and split once; the reward accepts a correct chain and nothing else."""

from itertools import product

import pytest

from trl_entropy.tasks import Puzzle, all_puzzles, countdown_dataset, countdown_reward, is_correct, puzzles
from trl_entropy.tasks.countdown import SPLITS


def test_every_puzzle_is_enumerated_once():
    assert len(all_puzzles()) == len(set(all_puzzles())) == 13_486


def test_enumeration_equals_a_slow_one():
    """Over the numbers up to 8: every order, every pair of operators, evaluated by Python's own parser."""
    reached = set()
    for a, b, c in product(range(1, 9), repeat=3):
        for first, second in product("+-*", repeat=2):
            running, final = eval(f"{a} {first} {b}"), eval(f"({a} {first} {b}) {second} {c}")
            if running in range(100) and final in range(100):
                reached.add(Puzzle((*sorted((a, b, c)),), final))
    assert reached == {puzzle for puzzle in all_puzzles() if max(puzzle.numbers) <= 8}


def test_splits_are_disjoint_complete_and_of_the_stated_sizes():
    split = {name: puzzles(name) for name in SPLITS}
    assert sum(map(len, split.values())) == len(set().union(*split.values())) == 13_486
    assert {name: len(members) for name, members in split.items()} == {
        "warmup": 5441,
        "train": 6657,
        "selection": 711,
        "heldout": 677,
    }


def test_no_prompt_is_shared_between_splits_even_with_its_numbers_reordered():
    keys = [(tuple(sorted(map(int, p.prompt.split()[:3]))), p.prompt.split()[4]) for p in all_puzzles()]
    assert len(set(keys)) == 13_486


def test_every_solution_of_every_puzzle_is_correct_and_there_is_one():
    for puzzle in all_puzzles():
        assert puzzle.solutions
        assert all(is_correct(solution, puzzle.numbers, puzzle.target) for solution in puzzle.solutions)


def test_solutions_worked_by_hand():
    assert Puzzle((2, 3, 5), 17).solutions == ("3 * 5 = 15 + 2 = 17", "5 * 3 = 15 + 2 = 17")
    assert Puzzle((20, 20, 20), 17).solutions == ()


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"'test'; choose one of warmup, train, selection, heldout"):
        puzzles("test")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "completion",
    ["3 * 5 = 15 + 2 = 17", "5 * 3 = 15 + 2 = 17", "  3 * 5 = 15 + 2 = 17 \n"],
)
def test_right_chains(completion):
    assert is_correct(completion, [3, 5, 2], 17)


@pytest.mark.parametrize(
    "completion",
    [
        "3 * 5 = 16 + 2 = 17",  # a wrong running value, the right final one
        "3 * 5 = 15 + 2 = 18",  # a wrong final value
        "3 * 4 = 12 + 5 = 17",  # other numbers, right target
        "5 * 3 = 15 + 3 = 18",  # a number twice
        "3 + 5 = 8 + 2 = 10",  # right, but not the target
        "3 * 5 + 2 = 17",  # the running value is left out
        "3 * 5 = 15",  # two numbers
        "3 * 5 = 15 + 2 = 17 + 0 = 17",  # a fourth number
        "3 * 5 = 15 + 2 = 17 17",  # something after it
        "so 3 * 5 = 15 + 2 = 17",  # something before it
        "3 * 5 = 15 - -2 = 17",  # a sign
        "3 * 05 = 15 + 2 = 17",  # a leading zero
        "3*5=15+2=17",  # no spaces: the tokenizer could not have written it
        "3 × 5 = 15 + 2 = 17",  # another multiplication sign
        "٣ * 5 = 15 + 2 = 17",  # Arabic-Indic three, for which int() gives 3
        "3 * 5 = 15 + ² = 17",
        "",
        "= = = = =",
        "<unk> <pad>",
        "\x00",
    ],
)
def test_wrong_chains(completion):
    assert not is_correct(completion, [3, 5, 2], 17)


def test_a_wrong_running_value_is_wrong_even_where_the_rest_follows_from_it():
    assert not is_correct("3 * 5 = 16 + 2 = 18", [3, 5, 2], 18)


def test_values_out_of_range_are_wrong_even_where_the_arithmetic_is_right():
    assert not is_correct("20 * 5 = 100 - 2 = 98", [20, 5, 2], 98)
    assert not is_correct("3 - 5 = -2 + 20 = 18", [3, 5, 20], 18)


def test_reward_follows_the_calling_convention_for_texts_and_conversations():
    right, wrong = "3 * 5 = 15 + 2 = 17", "3 * 5 = 15 + 2 = 16"
    columns = {"numbers": [[3, 5, 2]] * 2, "target": [17, 17]}
    assert countdown_reward(["", ""], [right, wrong], **columns, trainer_state=None) == [1.0, 0.0]
    conversations = [[{"role": "assistant", "content": text}] for text in (wrong, right)]
    assert countdown_reward([[], []], conversations, **columns) == [0.0, 1.0]


def test_dataset_rows_are_answerable():
    dataset = countdown_dataset("heldout")
    assert dataset.column_names == ["prompt", "numbers", "target"]
    for row, puzzle in zip(dataset, puzzles("heldout"), strict=True):
        first, second, third, arrow, target, colon = row["prompt"].split()
        assert sorted(map(int, (first, second, third))) == row["numbers"] == list(puzzle.numbers)
        assert (arrow, int(target), colon) == ("->", row["target"], ":")
