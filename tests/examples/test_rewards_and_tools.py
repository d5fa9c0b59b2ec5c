"""The test-running reward against code that is right, wrong, endless, greedy or sly; and the calculator."""

import pytest

from trl_entropy.examples.code import extract_code, passes_tests
from trl_entropy.examples.tools import calculator


TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]


def block(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```\nDone."


@pytest.mark.parametrize(
    ("code", "reward"),
    [
        ("def add(a, b):\n    return a + b", 1.0),
        ("def add(a, b):\n    return 3", 0.0),  # passes the first test only
        ("def add(a, b)", 0.0),
        ("raise SystemExit(0)", 0.0),
        ("import os; os._exit(0)", 0.0),
        ("print('anything'); add = lambda a, b: a + b", 1.0),
        ("x = 'a' * 10**10", 0.0),
        ("def add(a, b):\n    raise ValueError('\\x00\\ud800')", 0.0),
        ("open('/proc/self/fd/1', 'w').write('0' * 32); import os; os._exit(0)", 0.0),
    ],
)
def test_the_reward_of_code(code: str, reward: float):
    assert passes_tests([block(code)], tests=[TESTS]) == [reward]


def test_a_batch_keeps_its_order_and_runs_each_solution_once(monkeypatch: pytest.MonkeyPatch):
    from trl_entropy.examples import code as module

    ran = []
    monkeypatch.setattr(module, "passes", lambda code, tests: ran.append(code) or "good" in code)
    completions = [block("good"), "no code", [{"role": "assistant", "content": block("bad")}], block("good")]
    assert passes_tests(completions, tests=[TESTS] * 4) == [1.0, 0.0, 0.0, 1.0]
    assert sorted(ran) == ["bad\n", "good\n"]


def test_the_last_block_is_the_answer():
    assert extract_code("```python\nfirst\n```\nbetter:\n```py\nsecond\n```") == "second\n"
    assert extract_code("no block") is None


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("(17 + 4) * 3", "63"),
        ("1 / 4", "0.25"),
        ("-7 // 2", "-4"),
        ("10 % 4", "2"),
        ("1 / 0", "error: division by zero"),
        ("2 ** 100", "error: only numbers"),
        ("9999999999 * 9999999999", "error: a number beyond 1e+15"),
        ("__import__('os')", "error: only numbers"),
        ("123456789012 / 8", "15432098626.5"),
        ("0.1 + 0.2", "0.3"),
        ("True + 1", "error: only numbers"),
        ("1 + " * 60 + "1", "error: an expression of more than 200 characters"),  # cut, it would be another sum
        ("(" * 300, "error:"),
        ("", "error:"),
    ],
)
def test_calculator(expression: str, result: str):
    answer = calculator(expression)
    assert answer.startswith(result) if result.startswith("error") else answer == result
