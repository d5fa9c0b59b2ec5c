"""A method is known in any spelling, wherever one is named, and a mistyped one is asked after."""

import pytest

from trl_entropy import cli
from trl_entropy.demo.demo_run import demo_study
from trl_entropy.methods import CONTROLLERS, METHODS
from trl_entropy.plan.configuration import configuration
from trl_entropy.script.spelling import known_word
from trl_entropy.study.matrix import Study, TaskPlan


@pytest.mark.parametrize("typed", ["kl_cov", "KL-Cov", "klcov", "kl cov", "Kl_COV"])
def test_every_spelling(typed):
    assert known_word(typed, ["siren", "kl_cov"], "x") == "kl_cov"
    assert configuration(typed) == configuration("kl_cov")


@pytest.mark.parametrize("typed", ["plain", "GRPO", "plain GRPO"])
def test_plain_grpo_has_one_name_more(typed, tmp_path):
    assert configuration(typed) == configuration("grpo")
    (task,) = demo_study(tmp_path, [typed, "Clip-Cov"], [0]).tasks.values()
    assert task.methods == ("plain", "clip_cov")


def test_the_naive_bonus_too(tmp_path):
    assert configuration("bonus") == configuration("naive_bonus")
    (task,) = demo_study(tmp_path, ["naive_bonus"], [0]).tasks.values()
    assert task.methods == ("bonus",)


@pytest.mark.parametrize("part", [*METHODS, *CONTROLLERS], ids=lambda part: part.key)
def test_methods_takes_its_name_and_its_key(part, capsys):
    for typed in (part.key, part.name, part.name.upper()):
        assert cli.main(["methods", typed]) == 0
        assert capsys.readouterr().out.startswith(part.name)


@pytest.mark.parametrize(
    ("ask", "meant"),
    [
        (lambda folder: configuration("cilp_cov"), "clip_cov"),
        (lambda folder: demo_study(folder, ["cilp_cov"], [0]), "clip_cov"),
        (lambda folder: Study("s", {"countdwn": TaskPlan()}, {"plain": {}}, folder, folder), "countdown"),
    ],
)
def test_a_mistyped_word_is_asked_after(ask, meant, tmp_path):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        ask(tmp_path)


def test_a_mistyped_method_is_asked_after_by_the_command(capsys):
    assert cli.main(["methods", "sirenn"]) == 2
    assert "Did you mean 'siren'" in capsys.readouterr().err
