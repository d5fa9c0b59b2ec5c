"""What can be said before a model loads is said then, in one line: columns, rewards, templates, pictures."""

import json
from pathlib import Path

import pytest
import transformers

from tests.conftest import tiny_tokenizer, vowel_reward
from tests.quick import published, quick
from trl_entropy.rewards import math_reward
from trl_entropy.script import train
from trl_entropy.script.reward_names import check_columns
from trl_entropy.script.trl_values import WORDS


REFUSING = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{{ m['content'] }} {% endfor %}"
)


def needs(completions, target, **columns):
    return [0.0] * len(completions)


def closed(prompts, completions):
    return [0.0] * len(completions)


class Scorer:
    def __call__(self, completions, answer, **columns):
        return [0.0] * len(completions)


async def asks(completions, judge, **columns):
    return [0.0] * len(completions)


@pytest.mark.parametrize(
    ("columns", "reward", "message"),
    [
        (["prompt", "completions"], vowel_reward, "column 'completions'"),
        (["prompt", "prompts"], vowel_reward, "column 'prompts'"),
        (["prompt"], math_reward, "solution or answer"),
        (["prompt", "ground_truth"], math_reward, "'ground_truth'. Set solution_column"),
        (["prompt", "goal"], needs, "missing a required argument: 'target'"),
        (["prompt", "target"], closed, "unexpected keyword argument"),
        (["prompt"], Scorer(), "missing a required argument: 'answer'"),
        (["prompt"], asks, "missing a required argument: 'judge'"),
    ],
)
def test_rewards_that_the_columns_cannot_feed(columns, reward, message):
    with pytest.raises(ValueError, match=message):
        check_columns(columns, [("mine", reward)])


@pytest.mark.parametrize(
    ("columns", "reward"),
    [
        (["prompt", "answer"], math_reward),
        (["prompt", "solution"], math_reward),
        (["prompt", "target", "completion", "completion_ids", "trainer_state"], needs),
        (["prompt", "answer"], Scorer()),
        (["prompt"], vowel_reward),
    ],
)
def test_rewards_that_they_can(columns, reward):
    check_columns(columns, [("mine", reward)])


@pytest.fixture
def refused(model, tmp_path, monkeypatch):
    """What training says when no weights may load; `None` when it gets that far."""

    class Loaded(Exception):
        pass

    def load(*_, **__):
        raise Loaded

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", load)

    def run(rows: list[dict], **more) -> str | None:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows * 16))
        try:
            train.main(quick(published("siren"), model, str(file), tmp_path / "out", **more))
        except Loaded:
            return None
        except SystemExit as stop:
            return str(stop)
        raise AssertionError("it trained")

    return run


def with_template(model: str, template: str | None) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(model)
    if template is None:
        Path(model, "chat_template.jinja").unlink(missing_ok=True)


CHAT = {"prompt": [{"role": "user", "content": "a b"}]}


@pytest.mark.parametrize(
    ("template", "row", "more", "said"),
    [
        (
            REFUSING,
            {"prompt": "a b"},
            {"system_prompt": "c"},
            "refuses a chat of system, user .System role not supported",
        ),
        (
            REFUSING,
            {"prompt": [{"role": "system", "content": "c"}, *CHAT["prompt"]]},
            {},
            "refuses a chat of system, user",
        ),
        ("{% for m in messages %}{{ m['content'] }", CHAT, {}, "refuses a chat of user"),
        (None, CHAT, {}, "refuses a chat of user"),
        (REFUSING, CHAT, {}, None),
        (REFUSING, {"prompt": "a b"}, {}, None),
        (None, {"prompt": "a b"}, {}, None),
    ],
)
def test_a_template_that_refuses_the_prompts(template, row, more, said, model, refused):
    with_template(model, template)
    line = refused([row], **more)
    assert (line is None) == (said is None)
    if said:
        assert line.startswith("trl-entropy: ")
        assert "\n" not in line
        assert said.replace(".System", "(System") in line


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a b", "image": "x"}, "column 'image', which TRL takes for pictures, but its prompts are texts"),
        ({**CHAT, "images": ["x"]}, "reads text only"),
        ({"prompt": "a b", "pictures": "x"}, None),
    ],
)
def test_columns_that_trl_takes_for_pictures(row, said, refused):
    line = refused([row])
    assert (said is None and line is None) or said in line


def test_words_that_trl_compares_later_are_those_in_its_code():
    """A canary: TRL's trainer and configuration name each of these words."""
    import inspect

    from trl import GRPOConfig, GRPOTrainer

    source = inspect.getsource(inspect.getmodule(GRPOTrainer)) + inspect.getsource(inspect.getmodule(GRPOConfig))
    for name, words in WORDS.items():
        assert hasattr(GRPOConfig, name)
        for word in words:
            assert f'"{word}"' in source or f"'{word}'" in source, (name, word)
