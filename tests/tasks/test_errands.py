"""Errands: every drawn errand can be done, splits share none, and the check accepts a walk and nothing else."""

import random

import pytest

from trl_entropy.tasks import TASKS
from trl_entropy.tasks.errands import CELLS, MOVES, Errand, errands, is_route
from trl_entropy.tasks.task import SPLITS
from trl_entropy.tasks.tokenizer import build_tokenizer


PROMPT = "a1 to a2 b3 b2 c2 not f1 f2 f3 f4 f5 :"
WALK = "up a2 up a3 right b3 down b2 right c2"


def ask(split):
    return {(e.start, frozenset(e.stops), frozenset(e.walls)) for e in errands(split)}


def test_splits_are_disjoint_and_of_the_stated_sizes():
    sizes = {split: len(ask(split)) for split in SPLITS}
    assert sizes == {"warmup": 6000, "train": 6000, "selection": 600, "heldout": 600}
    assert len(set().union(*map(ask, SPLITS))) == sum(sizes.values())


def test_the_same_errands_in_every_process():
    assert errands("warmup")[0].prompt == "c5 to c2 e2 b2 e3 not b4 d6 c3 d3 c1 :"
    assert errands("heldout")[0].prompt == "f6 to e5 d5 e3 d4 not a1 f1 c2 c5 b6 :"


def test_a_prompt_is_read_as_it_was_written():
    for errand in errands("heldout"):
        assert Errand.read(errand.prompt) == errand
        assert len({errand.start, *errand.stops, *errand.walls}) == 10


def test_routes_are_right_varied_and_of_the_stated_length():
    choice = random.Random(0)
    routes = [[r for _ in range(16) if (r := errand.route(choice))] for errand in errands("heldout")[:200]]
    assert all(is_route(e.prompt, r) for e, group in zip(errands("heldout"), routes, strict=False) for r in group)
    assert sum(len(set(group)) for group in routes) / 200 > 5
    lengths = sorted(len(route.split()) + 1 for group in routes for route in group)
    assert 20 <= lengths[len(lengths) // 2] <= 40 and lengths[-1] <= TASKS["errands"].longest


def slow_check(prompt, completion):
    """By coordinates and an explicit list of visits, from the rules in words."""
    words, answer = prompt.rstrip(" :").split(), completion.split()
    place = {cell: ("abcdef".index(cell[0]), int(cell[1])) for cell in CELLS}
    stops, walls = words[2 : words.index("not")], words[words.index("not") + 1 :]
    cells = [words[0], *answer[1::2]]
    if len(answer) % 2 or any(cell not in place for cell in cells) or any(move not in MOVES for move in answer[::2]):
        return False
    for move, before, after in zip(answer[::2], cells, cells[1:], strict=False):
        if (place[after][0] - place[before][0], place[after][1] - place[before][1]) != MOVES[move]:
            return False
    done = [set(stops) <= set(cells[: i + 1]) for i in range(len(cells))]
    return len(set(cells)) == len(cells) and not set(cells) & set(walls) and done[-1] and not any(done[:-1])


def test_the_check_agrees_with_a_slow_one_on_damaged_walks():
    choice, verdicts = random.Random(1), []
    for errand in errands("selection")[:300]:
        words = (errand.route(choice) or "up").split()
        for _ in range(10):
            damaged = list(words)
            for _ in range(choice.randint(0, 2)):
                kind, position = choice.choice(["swap", "drop", "add"]), choice.randrange(len(damaged) or 1)
                word = choice.choice([*MOVES, *CELLS])
                if kind == "drop":
                    del damaged[position : position + choice.randint(1, 2)]
                else:
                    damaged[position : position + (kind == "swap")] = [word]
            text = " ".join(damaged)
            verdicts.append(is_route(errand.prompt, text))
            assert verdicts[-1] == slow_check(errand.prompt, text), (errand.prompt, text)
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "up a2 right b2 right c2",  # a stop is left out
        f"{WALK} right d2",  # it goes on after the last stop
        "up a2 up a3 right b3 down b2 right",  # a move without its cell
        "right a2 up a3 right b3 down b2 right c2",  # a move that leads elsewhere
        "up a2 up a3 right b3 down b2 down b1 up b2 right c2",  # a cell twice
        "a2 a3 b3 b2 c2",
        f"so {WALK}",
    ],
)
def test_wrong_walks(completion):
    assert is_route(PROMPT, WALK)
    assert not is_route(PROMPT, completion)


def test_a_wall_is_not_entered():
    assert is_route("a1 to a3 b3 b2 c2 not f1 f2 f3 f4 f5 :", WALK)
    assert not is_route("a1 to a3 b3 b2 c2 not a2 f2 f3 f4 f5 :", WALK)


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.vocabulary], ids=lambda task: task.name)
def test_every_task_is_whole(task):
    """Lessons are right, prompts have one length, the tokenizer loses nothing, the reward is the check."""
    lessons = task.lessons()[::50]
    tokenizer = build_tokenizer(task.vocabulary)
    assert all(task.solved(prompt, solution) for prompt, solutions in lessons for solution in solutions)
    texts = [f"{prompt} {solution}" for prompt, solutions in lessons for solution in solutions]
    assert tokenizer.batch_decode(tokenizer(texts).input_ids) == texts
    assert len({len(tokenizer(prompt).input_ids) for split in SPLITS for prompt in task.prompts(split)[:50]}) == 1
    assert max(len(tokenizer(s).input_ids) for _, solutions in lessons for s in solutions) < task.longest
    prompt, (solution, *_) = lessons[0]
    assert task.reward([prompt, prompt], [solution, "up"], trainer_state=None) == [1.0, 0.0]
    assert task.dataset("heldout")["prompt"] == list(task.prompts("heldout"))
