"""What a run ends with: commands that the command line takes, on this run."""

import shlex

import pytest

from trl_entropy.cli import make_parser
from trl_entropy.script.arguments import parse
from trl_entropy.script.next_steps import next_steps


def commands(*words: str) -> dict:
    """The named commands as the command line parses them."""
    given = parse(["--output_dir", "out/my run", "--use_cpu", "--bf16", "false", "--report_to", "none", *words])
    _, *lines = next_steps(given).splitlines()
    typed = [shlex.split(line.partition("trl-entropy ")[2]) for line in lines]
    return {words[0]: make_parser().parse_args(words) for words in typed}


def test_each_names_the_run():
    found = commands()
    assert found["report"].runs == ["out/my run"]
    assert (found["eval"].model, found["eval"].output_dir) == (["out/my run"], "out/my run/evaluation")
    assert found["push"].run_dir == "out/my run"


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ([], (["math500"], None, None, None)),
        (["--heldout_benchmark", "aime24"], (["aime24"], None, None, None)),
        (["--heldout_benchmark", "my.jsonl"], (None, "my.jsonl", "prompt", None)),
        (
            ["--heldout_benchmark", "my.jsonl", "--prompt_column", "q", "--solution_column", "s"],
            (None, "my.jsonl", "q", "s"),
        ),
    ],
)
def test_it_is_evaluated_on_what_it_was_evaluated_on_beside_training(held, asked):
    found = commands(*held)["eval"]
    assert (found.benchmark, found.dataset, found.problem_column, found.answer_column) == asked


def test_questions_are_asked_as_in_training():
    found = commands("--system_prompt", "Think, then 'answer'.")["eval"]
    assert (found.system_prompt, found.prompt) == ("Think, then 'answer'.", "{problem}")


def test_what_was_pushed_is_not_pushed_again():
    assert "push" not in commands("--push_to_hub")
