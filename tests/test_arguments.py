"""A YAML file as people write it: YAML 1.2's scalars, `~`, and each value of its argument's kind, or a refusal."""

import math
import os
from pathlib import Path
from typing import Any, Literal

import pytest
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from trl_entropy import cli
from trl_entropy.script.arguments import fitting, help_text, parse
from trl_entropy.script.config_file import read_config, words_at_home
from trl_entropy.script.spelling import did_you_mean


@pytest.fixture(autouse=True)
def no_deepspeed_left_behind():
    """A configuration that DeepSpeed's absence refuses stays known to transformers while its error is kept."""
    yield
    unset_hf_deepspeed_config()


@pytest.fixture
def read(tmp_path: Path):
    def make(text: str) -> dict[str, Any]:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return read_config(str(path))

    return make


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-7", 1e-7),
        ("1.0e-06", 1e-6),
        ("+2.5E+3", 2500.0),
        (".5", 0.5),
        ("1_000", 1000),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("-.inf", -math.inf),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1.0.0", "1.0.0"),
        ("12_", "12_"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1e-7'", "1e-7"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(read, text, value):
    """At the top, in a list and in a mapping alike."""
    assert read(f"a: {text}\nb:\n- {text}\nc: {{d: {text}}}\n") == {"a": value, "b": [value], "c": {"d": value}}
    assert type(read(f"a: {text}")["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 1: no valid YAML .a stands there twice"),
        ("- a", "holds a list"),
        ("a: [1", "line 1: no valid YAML"),
        ("1: 2", "1 is no argument's name"),
        ("a: \xe9\x00", "no valid YAML"),
    ],
)
def test_what_is_no_configuration(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_not_a_number(read):
    assert math.isnan(read("a: .nan")["a"])


def test_home_everywhere(read, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    content = read("a: ~/x\nb: [~/y, z~/]\nc: {d: ~/w}\nenv: {HF_HOME: ~/hf}\n")
    assert content == {
        "a": "/home/me/x",
        "b": ["/home/me/y", "z~/"],
        "c": {"d": "/home/me/w"},
        "env": {"HF_HOME": "/home/me/hf"},
    }
    words = ["--a=~/x", "~/y", "--b", "~", "--c=d~/", "~nobody-has-it/x", "--d=two\n~/lines"]
    expanded = ["--a=/home/me/x", "/home/me/y", "--b", "/home/me", "--c=d~/", "~nobody-has-it/x", "--d=two\n~/lines"]
    assert words_at_home(words) == expanded


def test_home_on_every_command_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "siren", "--output=~/a/b.yaml"]) == 0
    assert (tmp_path / "a/b.yaml").is_file()
    assert not Path("~").exists()


NUMBER, WORDS = float | None, Literal["stop", "lower"] | None


@pytest.mark.parametrize(
    ("value", "hint", "fitted"),
    [
        (1, float, 1.0),
        ("0.1", float, 0.1),
        (1e3, int, 1000),
        ("12345678901234567890", int, 12345678901234567890),
        ("yes", bool, True),
        ("off", bool, False),
        (0, bool, False),
        (None, NUMBER, None),
        ("None", NUMBER, None),
        ("null", bool | None, None),
        ("off", WORDS, None),
        (False, WORDS, None),
        ("stop", WORDS, "stop"),
        ("math_reward", list[str] | None, ["math_reward"]),
        (1e-7, list[float] | None, [1e-7]),
        (["1", 2], list[float], [1.0, 2.0]),
        (7, str | None, "7"),
        (None, str | None, None),
        ("none", str | None, "none"),
        ("no", str | Literal["no", "steps"], "no"),
        ({"a": 1}, dict | str | None, {"a": 1}),
        (["a"], str | list[str], ["a"]),
        ("a", str | list[str], "a"),
    ],
)
def test_a_value_becomes_what_its_argument_takes(value, hint, fitted):
    found = fitting("name", value, hint)
    assert found == fitted
    assert type(found) is type(fitted)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (True, float, "name=True is not a number"),
        (True, int, "name=True is not a number"),
        ("yes", float, "name='yes' is not a number"),
        ("off", NUMBER, "name='off' is not a number"),
        (True, NUMBER, "name=True is not a number"),
        (2.5, int, "not a whole number"),
        (math.inf, int, "not a whole number"),
        ([0.1], float, "not a number"),
        (None, int, "name is empty"),
        (None, list[str], "name is empty"),
        ("maybe", bool, "neither true nor false"),
        (2, bool, "neither true nor false"),
        ("stopp", WORDS, "give 'stop' or 'lower'. Did you mean 'stop'"),
        (True, WORDS, "name=True is not allowed"),
        ([1, True], list[float], "name: entry 2=True is not a number"),
    ],
)
def test_a_value_of_another_kind_is_refused(value, hint, message):
    with pytest.raises(ValueError, match=message):
        fitting("name", value, hint)


def test_the_whole_way(tmp_path, monkeypatch):
    """A file of many kinds, the command line over it, and the file's environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINE", "")
    path = tmp_path / "run.yaml"
    path.write_text(
        "use_cpu: yes\nbf16: off\nsave_strategy: no\nreport_to: null\nsiren_coef: 1e-1\nmax_steps: 1e1\n"
        "reward_weights: [1e-7]\nreward_funcs: math_reward\noutput_dir: ~/out\nresume_from_checkpoint: no\n"
        "scale_rewards: no\nentropy_guard: off\nenv: {MINE: ~/x}\nnum_processes: 2\n"
    )
    given = parse([f"--config={path}", "--learning-rate", "1e-7"])
    args = given.args
    assert (args.use_cpu, args.bf16, args.save_strategy, args.report_to) == (True, False, "no", [])
    assert (args.siren_coef, args.max_steps, args.reward_weights, args.learning_rate) == (0.1, 10, [1e-7], 1e-7)
    assert (given.script.reward_funcs, args.output_dir) == (["math_reward"], f"{tmp_path}/out")
    assert (args.resume_from_checkpoint, args.scale_rewards, args.entropy_guard) == (None, "none", None)
    assert os.environ["MINE"] == f"{tmp_path}/x"
    assert {"siren_coef", "learning_rate", "num_processes"} <= given.given


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--siren_cof", "1"], "unknown arguments: --siren_cof. Did you mean 'siren_coef'?"),
        (["--siren_coef", "much"], "argument --siren_coef"),
        (["--siren_coef", "true"], "argument --siren_coef"),
        (["--deepspeed", "nowhere.json"], "deepspeed"),
    ],
)
def test_a_command_line_is_refused_in_one_line(words, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as refused:
        parse(["--use_cpu", "true", "--bf16", "false", *words])
    assert "\n" not in str(refused.value).strip()


def test_help_begins_with_what_is_ours():
    text = help_text()
    ours, theirs = text.index("--siren_coef"), text.index("--learning_rate")
    assert text.index("--dataset_name") < ours < text.index("--heldout_benchmark") < theirs
    assert text.count("--siren_coef SIREN_COEF") == text.count("--learning_rate LEARNING_RATE") == 1


def test_spelling():
    assert did_you_mean("KL Cov", ["siren", "kl_cov"]) == " Did you mean 'kl_cov'?"
    assert did_you_mean("zzz", ["siren", "kl_cov"]) == ""
