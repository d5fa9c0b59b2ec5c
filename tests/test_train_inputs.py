"""Where `trl_entropy.script.train` gets its data and rewards: mixtures, streams, a reward model; each trains one
step or is refused in one line before a model loads."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset, IterableDataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Qwen2Config, Qwen2ForSequenceClassification

from tests.conftest import WORDS, tiny_tokenizer, vowel_reward
from tests.quick import published, quick
from trl_entropy.commands import doctor
from trl_entropy.script import splits, train
from trl_entropy.script.mixture import Mixture


GIVEN: list[dict] = []


@pytest.fixture(autouse=True)
def forget():
    GIVEN.clear()


@pytest.fixture
def loaded(monkeypatch) -> list:
    """The splits that training gets."""
    seen: list = []

    def load_data(given):
        found = splits.load_data(given)
        seen.append(found[0])
        return found

    monkeypatch.setattr(train, "load_data", load_data)
    return seen


def recorded_reward(**given) -> list[float]:
    """A reward that remembers what it was given."""
    GIVEN.append(given)
    return vowel_reward(given["completions"])


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def config(tmp_path: Path, **more) -> Path:
    """`configs/siren.yaml` without its dataset; a value that is None takes its argument out."""
    content = {**yaml.safe_load(published("siren").read_text()), "dataset_name": None, **more}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


def trained(path: Path, model: str, data: str | None, out: Path, **more) -> list[dict]:
    """Train one step and return the log."""
    words = {"reward_funcs": "tests.test_train_inputs.recorded_reward", "save_strategy": "no", **more}
    train.main(quick(path, model, data, out, **words))
    state = json.loads((out / "trainer_state.json").read_text())
    assert state["global_step"] == 1
    return state["log_history"]


@pytest.fixture
def two(tmp_path: Path) -> list[str]:
    """Two files, a prompt each."""
    first = write(tmp_path / "first.jsonl", {"prompt": "a b", "solution": "x", "note": "long"})
    return [first, write(tmp_path / "second.jsonl", {"prompt": "c d e", "solution": "y"})]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_mixture_of_two_files(model, two, loaded, tmp_path, streaming):
    entries = [
        {"path": two[0], "columns": ["prompt", "solution"]},
        {"path": "json", "data_files": two[1]},
    ]
    trained(config(tmp_path, datasets=entries, streaming=streaming), model, None, tmp_path / "out")
    assert (
        sorted(zip(GIVEN[0]["prompts"], GIVEN[0]["solution"], strict=True))
        == [("a b", "x")] * 4 + [("c d e", "y")] * 4
    )
    assert "note" not in GIVEN[0]
    assert [type(split) for split in loaded] == [IterableDataset if streaming else Dataset]


def test_a_mixture_is_evaluated_on_the_part_that_it_was_split_off(model, tmp_path):
    prompts = ["a b", "c d e", "f g", "h i"]
    file = write(tmp_path / "rows.jsonl", *({"prompt": p} for p in prompts))
    path = config(tmp_path, datasets=[{"path": file}], test_split_size=0.5)
    more = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    log = trained(path, model, None, tmp_path / "out", **more)
    assert any("eval_reward" in row for row in log)
    learned, held = set(GIVEN[0]["prompts"]), {p for given in GIVEN[1:] for p in given["prompts"]}
    assert (len(learned), learned | held, learned & held) == (2, set(prompts), set())


def test_every_process_and_every_resumed_run_splits_a_mixture_alike(tmp_path):
    file = write(tmp_path / "rows.jsonl", *({"prompt": str(i)} for i in range(40)))

    def held(seed: int) -> list[str]:
        np.random.seed(len(seen))  # what a process happens to have drawn before
        return Mixture(datasets=[{"path": file}], test_split_size=0.25).load(seed)["test"]["prompt"]

    seen: list[list[str]] = []
    for seed in (7, 7, 8):
        seen.append(held(seed))
    assert len(seen[0]) == 10
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"datasets": [{"path": "FIRST"}], "dataset_name": "countdown"}, "Both datasets and dataset_name were given"),
        ({}, "Neither datasets nor dataset_name was given"),
        ({"datasets": []}, "Neither datasets nor dataset_name was given"),
        ({"datasets": "FIRST"}, "datasets: entry 1, '.*', has no path"),
        ({"datasets": {"path": "FIRST"}}, "datasets is a dict. Give a list"),
        ({"datasets": ["FIRST"]}, "entry 1, '.*', has no path"),
        ({"datasets": [{"path": "FIRST"}, {"name": "x"}]}, "entry 2, .*, has no path. Give one of path, name"),
        ({"datasets": [{"path": "FIRST", "files": "x"}]}, "entry 1 has files, which is not known. Give path, name"),
        ({"datasets": [{"path": "nowhere.jsonl"}]}, "datasets: path='nowhere.jsonl' looks like a file, but there is"),
        ({"datasets": [{"path": "json", "data_files": "nowhere.jsonl"}]}, "Unable to find"),
        ({"datasets": [{"path": "BROKEN"}]}, "datasets could not be read: JSON parse error"),
        ({"datasets": [{"path": "FIRST", "columns": ["zz"]}]}, r"Column name \['zz'\] not in the dataset"),
        ({"datasets": [{"path": "FIRST", "fraction": 0}]}, "a fraction must be above 0"),
        ({"datasets": [{"path": "FIRST"}], "eval_strategy": "steps"}, "split 'test' is not in the dataset"),
        ({"datasets": [{"path": "FIRST"}], "dataset_streaming": True}, "dataset_streaming: no effect on datasets"),
        ({"dataset_name": "FIRST", "test_split_size": 0.5}, "test_split_size: no effect on dataset_name"),
        ({"datasets": [{"path": "FIRST"}], "test_split_size": 0.5, "streaming": True}, "no meaning with streaming"),
        ({"dataset_name": "FIRST", "dataset_streaming": True, "max_steps": -1}, "A stream has no length: set max_ste"),
        ({"datasets": [{"path": "FIRST"}], "streaming": True, "max_steps": -1}, "A stream has no length: set max_ste"),
        ({"dataset_name": "BROKEN", "dataset_streaming": True}, "could not be read as .jsonl: JSON parse error"),
        ({"reward_model_name_or_path": "/no/such"}, "reward_model_name_or_path: There is no folder /no/such"),
        ({"reward_model_name_or_path": "MODEL"}, "MODEL is a Qwen2ForCausalLM, not a sequence-classification model"),
    ],
)
def test_what_is_refused(model, two, tmp_path, given, message):
    (tmp_path / "broken.jsonl").write_text("{")
    places = {"FIRST": two[0], "BROKEN": str(tmp_path / "broken.jsonl"), "MODEL": model}

    def placed(value):
        if isinstance(value, dict):
            return {key: placed(item) for key, item in value.items()}
        return [placed(item) for item in value] if isinstance(value, list) else places.get(value, value)

    if "reward_model_name_or_path" in given:
        given = {"dataset_name": "FIRST", **given}
    path = config(tmp_path, **placed(given))
    steps = given.get("max_steps", 1)
    with pytest.raises(SystemExit, match=f"^trl-entropy: .*{message.replace('MODEL', model)}") as refused:
        train.main(quick(path, "no/such-model", None, tmp_path / "out", max_steps=steps))
    assert "\n" not in str(refused.value)


def test_a_streamed_file(model, loaded, tmp_path):
    rows = [{"question": p, "answer": f"so #### {p[0]}"} for p in ("a b", "c d e")]
    columns = {"prompt_column": "question", "solution_column": "answer", "solution_after": "####"}
    file = write(tmp_path / "rows.jsonl", *rows)
    trained(published("siren"), model, file, tmp_path / "out", dataset_streaming=True, **columns)
    found = sorted(zip(GIVEN[0]["prompts"], GIVEN[0]["solution"], strict=True))
    assert found == [("a b", "a")] * 4 + [("c d e", "c")] * 4
    assert [type(split) for split in loaded] == [IterableDataset]


@pytest.fixture
def scorer(tmp_path) -> str:
    """A model that gives a text one number."""
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    made = Qwen2ForSequenceClassification(
        Qwen2Config(vocab_size=len(WORDS), num_labels=1, pad_token_id=0, initializer_range=0.4, **shape)
    )
    for part in (made, tiny_tokenizer()):
        part.save_pretrained(tmp_path / "scorer")
    return str(tmp_path / "scorer")


def test_a_reward_model_scores_prompt_and_completion(model, data, scorer, tmp_path):
    log = trained(published("siren"), model, data, tmp_path / "out", reward_model_name_or_path=scorer)
    texts = [p + c for p, c in zip(GIVEN[0]["prompts"], GIVEN[0]["completions"], strict=True)]
    inputs = AutoTokenizer.from_pretrained(scorer)(texts, return_tensors="pt", padding=True, padding_side="right")
    with torch.no_grad():
        scores = AutoModelForSequenceClassification.from_pretrained(scorer)(**inputs).logits[:, 0]
    row = next(row for row in log if "rewards/scorer/mean" in row)
    assert row["rewards/scorer/mean"] == pytest.approx(scores.mean().item(), abs=1e-5)
    assert row["rewards/recorded_reward/mean"] == pytest.approx(np.mean(vowel_reward(GIVEN[0]["completions"])))
    assert row["reward"] == pytest.approx(row["rewards/scorer/mean"] + row["rewards/recorded_reward/mean"], abs=1e-5)


def test_a_reward_model_may_be_the_only_reward(model, data, scorer, tmp_path):
    more = {"reward_model_name_or_path": scorer, "reward_funcs": None}
    path = config(tmp_path, reward_funcs=None)
    log = trained(path, model, data, tmp_path / "out", **more)
    assert any("rewards/scorer/mean" in row for row in log)


def test_the_doctor_refuses_what_training_refuses(two, tmp_path, capsys):
    path = config(tmp_path, datasets=[{"path": two[0]}, {"path": "nowhere.jsonl"}], accelerate_config=None)
    assert doctor.run(argparse.Namespace(words=[str(path)], show_help=None)) == 1
    assert "datasets: path='nowhere.jsonl' looks like a file" in capsys.readouterr().err
