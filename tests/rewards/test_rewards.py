import random

import pytest

from tests.rewards.grading_pairs import PAIRS
from tests.rewards.write_grading_table import PATH, table
from trl_entropy.rewards import MathReward, extract_answer, format_reward, gold_answer, math_reward, quick_verdict
from trl_entropy.rewards.accuracy import FAILURES, completion_text
from trl_entropy.rewards.equality import compare


def test_the_published_table_is_what_the_grader_says():
    written = table()
    assert PATH.read_text() == written
    assert len(PAIRS) == 60
    assert written.count("**differs**") == 3  # each is listed at the top of the table


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"\boxed{1}, \boxed{2}, and \boxed{3}", "1, 2, 3"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed 7", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed{ 3 } but then \boxed{12", "3"),
        (r"\boxed{12", None),
        (r"The answer is 3 \boxed{12", None),
        ("", None),
        ("The answer is 3. I hope it is correct.", "3"),
        ("Answer: **12**", "12"),
        ("The answer is:\n$$\\frac{1}{2}$$", r"\frac{1}{2}"),
        ("the answer is (B).", "(B)"),
        ("the answer is 5. No, the answer is 6", "6"),
        ("so 2+2=4\n#### 1,234", "1,234"),
        ("the answer is $5 = 2 + 3$ dollars", "5 = 2 + 3"),
        ("The answer is 10^5", "10^5"),
        ("The answer is 10^5, since it grows.", "10^5"),
        ("Answer: 3x+2", "3x+2"),
        ("Answer: 3 x + 2.", "3 x + 2"),
        ("The answer is 1, 2 and 3", "1, 2, 3"),
        ("The answer is 3 or 4.", "3, 4"),
        (r"The answer is 2\pi", r"2\pi"),
        (r"The answer is 8\sqrt{2}.", r"8\sqrt{2}"),
        ("The answer is 1/2 + 1/3", "1/2 + 1/3"),
        ("The answer is 1/2", "1/2"),
        (r"The answer is 50\%.", r"50\%"),
        ("The answer is 5 cm^2.", "5"),
        ("The answer is 7 (seven).", "7"),
        ("The answer is 12, which is even.", "12"),
        ("The answer is 12 - as said.", "12"),
        ("<answer>The answer is 42</answer>", "42"),
        ("The answer is **12** apples", "12"),
        ("The answer is 2 times 3", "2 times 3"),
    ],
)
def test_extraction(text, answer):
    assert extract_answer(text) == answer


def test_only_boxes_if_asked():
    assert extract_answer("The answer is 3", require_box=True) is None
    assert MathReward(require_box=True)(completions=["The answer is 3"], solution=["3"]) == [0.0]


def test_quick_verdicts_are_those_of_math_verify():
    generator = random.Random(0)
    texts = ["0", "-0", "00", "+3", "3", "-3", "007", "12", "1" * 40]
    texts += [str(generator.randint(-(10**12), 10**12)) for _ in range(4)]
    texts += ["1/2", "-1/2", r"\frac{1}{2}", r"\dfrac{2}{4}", r"-\frac{3}{6}", "6/2", r"\tfrac{0}{5}", "22/7"]
    for gold in texts:
        for answer in texts:
            assert quick_verdict(gold, answer) == compare(gold, answer), (gold, answer)
    spellings = [
        (r"\left(1, 2\right]", "(1,2]"),
        ("x + 1", "x+1"),
        (r"\dfrac{x}{2}", r"\frac{x}{2}"),
        (r"2\,\pi", r"2 \pi"),
    ]
    for gold, answer in [*spellings, (r"\text{Sunday}", r"\text{Sunday}")]:
        assert quick_verdict(gold, answer) == compare(gold, answer) == "equal"
    for gold, answer in [(r"\boxed{12}", r"\boxed{1  2}"), ("12", "1  2"), ("12", r"1 \, 2"), ("12", "1\t2")]:
        assert quick_verdict(gold, answer) is None  # a space between digits is no spacing
    assert quick_verdict("x  2", "x2") == quick_verdict(r"1\,000", "1000") == "equal"
    for text in ["", "1.0", "1,000", "x", "1 2", "٣", "--1", "1" * 1001, "1/0"]:
        assert quick_verdict(text, "12") is None


def test_rewards_metrics_and_columns():
    metrics, columns = {}, {}
    completions = [
        [{"role": "assistant", "content": r"\boxed{0.5}"}],
        [{"role": "assistant", "content": [{"type": "text", "text": r"\boxed{2}"}]}],
        [{"role": "assistant", "content": None}],
        r"\boxed{\frac{}{}{}{}^^}",
    ]
    rewards = math_reward(
        prompts=[""] * 4,
        completions=completions,
        completion_ids=[[1]] * 4,
        solution=[r"\frac12"] * 4,
        log_metric=metrics.__setitem__,
        log_extra=columns.__setitem__,
    )
    assert rewards == [1.0, 0.0, 0.0, 0.0]
    assert columns["extracted_answer"][:3] == ["0.5", "2", ""]
    assert columns["verdict"][:3] == ["equal", "different", "no_answer"]
    assert metrics["math/no_answer"] == 0.25
    assert {"timeout", "unparsed", "unparsed_gold", "crash", "memory", "no_answer"} == set(FAILURES)
    assert set(metrics) == {f"math/{name}" for name in FAILURES}


def test_a_gold_without_an_answer_is_skipped():
    assert math_reward(completions=[r"\boxed{1}"] * 3, solution=["x" * 3000, None, ""]) == [None] * 3
    assert math_reward(completions=[r"\boxed{1.0}"], answer=["because\n#### 1"]) == [1.0]
    with pytest.raises(ValueError, match="'solution' or 'answer'"):
        math_reward(completions=["1"], text=["1"])
    with pytest.raises(ValueError, match="1 completions but 2 gold"):
        math_reward(completions=["1"], solution=["1", "2"])


def test_gold_answer():
    assert gold_answer(r"Thus $x=\boxed{3}$.") == "3"
    assert gold_answer("a $1 bill") == "a $1 bill"
    assert gold_answer("7") == "7"


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        (r"so \boxed{1}", 1.0),
        ("so 1", 0.0),
        (r"\boxed{}", 0.0),
        (r"\boxed{1", 0.0),
        (r"<think>a</think>\boxed{1}", 1.0),
        (r"a</think>\boxed{1}", 1.0),
        (r"<think>\boxed{1}</think> done", 0.0),
        (r"<think>a \boxed{1}", 0.0),
        (r"<think>a</think><think>b</think>\boxed{1}", 0.0),
        (r"hm <think>a</think>\boxed{1}", 0.0),
    ],
)
def test_format_reward(text, reward):
    assert format_reward(completions=[text]) == [reward]


def test_two_stage_parsing_reads_the_same_trees():
    from tests.rewards.throughput import batch
    from trl_entropy.rewards import equality as worker
    from trl_entropy.rewards.two_stage import install

    texts = {gold_answer(pair.gold) for pair in PAIRS} | {extract_answer(pair.completion) or "" for pair in PAIRS}
    completions, golds = batch("no integers", seed=3, problems=20, group=2)
    texts |= {gold_answer(gold) for gold in golds} | {extract_answer(c[0]["content"]) or "" for c in completions}
    texts |= {"x +", r"\frac{1}{", "1 < 2 < 3 = 3", r"\sin x \cos", "((", "a,b;c"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("math_verify.parser.latex2sympy", worker.parse.__globals__["latex2sympy"])
        plain = {text: str(worker._read.__wrapped__(text)) for text in texts}
        install()
        install()
        worker.parse.__globals__["parse_latex_cached"].cache_clear()
        worker.parse.__globals__["extract_latex"].cache_clear()
        assert {text: str(worker._read.__wrapped__(text)) for text in texts} == plain
    assert sum("Matrix" in tree for tree in plain.values()) >= 2


def test_refutation_never_contradicts_math_verify():
    from tests.rewards.throughput import KINDS, spell
    from trl_entropy.rewards import equality as worker
    from trl_entropy.rewards import refute

    generator, pairs = random.Random(4), [(gold_answer(p.gold), extract_answer(p.completion) or "") for p in PAIRS]
    for shape in KINDS["no integers"]:
        for _ in range(6):
            a, b = generator.randint(2, 99), generator.randint(2, 9)
            gold, _ = spell(shape, a, b, generator)
            pairs += [(gold, spell(shape, a + shift, b, generator)[1]) for shift in (0, 1)]
    pairs += [
        ("0.000001", "0.0000011"),
        ("1000000", "1000000.4"),
        ("x", "y"),
        ("ab", "ba"),
        ("9", r"9\%"),
        ("x^2", "y^2"),
    ]
    pairs += [(r"\sqrt{x^2}", "x"), (r"\ln x^2", r"2\ln x"), ("f(x)", "f(y)"), (r"\frac{x^2-1}{x-1}", "x+1")]
    refuted = 0
    for gold, answer in pairs:
        expected, given = list(worker._read(gold)), list(worker._read(answer))
        if expected and given and refute.all_surely_different(expected, given):
            refuted += 1
            assert not worker.verify(expected, given, timeout_seconds=None), (gold, answer)
    assert refuted > 15


def test_golds_that_cannot_be_read_are_counted():
    metrics = {}
    rewards = math_reward(
        completions=[r"\boxed{1}"] * 4, solution=["x" * 3000, "1", "1", "1"], log_metric=metrics.__setitem__
    )
    assert rewards == [None, 1.0, 1.0, 1.0]
    assert metrics["math/unparsed_gold"] == 0.25


def test_an_unmarked_worked_solution_gives_way_to_the_answer():
    """Marked: the solution counts, even against another answer. Unmarked: the answer, where there is one."""
    solutions = ["We add and get four.", r"so \boxed{4}", "so\n#### 4", "$4$", "4", "4"]
    answers = ["4", "5", "5", "5", "", None]
    assert math_reward(completions=[r"\boxed{4}"] * 6, solution=solutions, answer=answers) == [1.0] * 6


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        (None, ""),
        ("a", "a"),
        (["a", "b"], "b"),
        ({"role": "assistant", "content": "x"}, "x"),
        ([{"role": "assistant"}], ""),
        ([{"content": [{"type": "text", "text": None}, "s", {"type": "image"}, None, {"text": "t"}]}], "st"),
        ([None], ""),
        ([], ""),
        (3, ""),
    ],
)
def test_messages_of_any_shape_are_text(completion, text):
    assert completion_text(completion) == text
    assert math_reward(completions=[completion], solution=["1"]) == [0.0]
    assert format_reward(completions=[completion]) == [0.0]
