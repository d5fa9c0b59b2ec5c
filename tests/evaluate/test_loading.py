"""What `trl-entropy eval` loads: revisions, adapters with a vocabulary of their own, templates that refuse."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

from tests.conftest import WORDS, tiny_model, tiny_tokenizer
from trl_entropy import cli
from trl_entropy.evaluate import transformers_engine
from trl_entropy.evaluate.benchmarks import Benchmark
from trl_entropy.evaluate.problems import load_problems
from trl_entropy.evaluate.sampling import Sampling
from trl_entropy.evaluate.transformers_engine import load_tokenizer, load_transformers


NEW = ["<think>", "</think>"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapter(base: Path, folder: Path, words: int, **config) -> torch.Tensor:
    """Save a LoRA adapter of a model grown to `words`; returns the logits of the model that it was trained in."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    if words != len(WORDS):
        model.resize_token_embeddings(words, mean_resizing=False)
    tuned = get_peft_model(model, LoraConfig(r=2, init_lora_weights=False, **config))
    with torch.no_grad():
        tuned.get_input_embeddings().weight[len(WORDS) :].fill_(0.3)
    tuned.save_pretrained(folder)
    return tuned.eval()(torch.tensor([[3, 4, words - 1]])).logits.detach()


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
    ],
    ids=["saved", "saved by resizing", "adapted"],
)
def test_an_adapter_with_added_tokens(base: Path, tmp_path: Path, config: dict):
    """The head's width is the adapter's, and the logits are those it was saved with."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(NEW)
    expected = adapter(base, tmp_path / "tuned", len(tokenizer), **config)
    tokenizer.save_pretrained(tmp_path / "tuned")
    engine = load_transformers(str(tmp_path / "tuned"), device="cpu", chat="never")
    assert len(engine.tokenizer) == len(WORDS) + 2
    logits = engine.model(torch.tensor([[3, 4, len(WORDS) + 1]])).logits
    assert logits.shape[-1] == len(WORDS) + 2
    if config.get("modules_to_save") or "embed_tokens" not in config["target_modules"]:
        torch.testing.assert_close(logits, expected)
    (completion,) = engine.generate(["a <think> b"], Sampling(n=1, temperature=1.0, max_new_tokens=4), [0])
    assert completion.tokens >= 1


def test_an_adapter_without_a_tokenizer_has_its_base_models(base: Path, tmp_path: Path):
    expected = adapter(base, tmp_path / "tuned", len(WORDS), target_modules=["q_proj"])
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert not (tmp_path / "tuned" / file).exists()
    engine = load_transformers(str(tmp_path / "tuned"), device="cpu", chat="never")
    assert not isinstance(engine.model, PeftModel)
    torch.testing.assert_close(engine.model(torch.tensor([[3, 4, len(WORDS) - 1]])).logits, expected)


def test_everything_is_taken_at_the_revision(monkeypatch: pytest.MonkeyPatch):
    """The tokenizer's, the model's, and for an adapter the base model's own."""
    asked: list[tuple] = []

    def tokenizer(name, revision=None, **_):
        asked.append(("tokenizer", name, revision))
        return tiny_tokenizer()

    def model(name, revision=None, **_):
        asked.append(("model", name, revision))
        return tiny_model()

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", tokenizer)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", model)
    monkeypatch.setattr(transformers_engine, "adapter_config", lambda *_: None)
    load_transformers("me/model", device="cpu", revision="v2")
    assert asked == [("tokenizer", "me/model", "v2"), ("model", "me/model", "v2")]
    asked.clear()
    found = LoraConfig(base_model_name_or_path="me/base", revision="v7")
    monkeypatch.setattr(transformers_engine, "adapter_config", lambda *_: found)
    monkeypatch.setattr("transformers.utils.cached_file", lambda *_, revision, **__: revision == "v3" or None)
    monkeypatch.setattr(transformers_engine, "_merged", lambda base, *_: base)
    load_transformers("me/adapter", device="cpu", revision="v2")
    assert asked == [("tokenizer", "me/base", "v7"), ("model", "me/base", "v7")]
    asked.clear()
    load_tokenizer("me/adapter", "v3", found)
    assert asked == [("tokenizer", "me/adapter", "v3")]


NO_SYSTEM = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "words"),
    [(NO_SYSTEM, ["--system-prompt", "c"]), ("{% for m in messages %}{{ m['content'] }", [])],
)
def test_a_template_that_refuses_is_one_line_before_the_weights(
    base: Path, template: str, words: list[str], tmp_path: Path, monkeypatch, capsys
):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(base)
    (tmp_path / "qa.jsonl").write_text(json.dumps({"question": "a b", "answer": "a"}))
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", None)
    asked = ["--dataset", str(tmp_path / "qa.jsonl"), "--n", "1", "--quiet", "--output-dir", str(tmp_path / "out")]
    assert cli.main(["eval", "--model", str(base), *asked, *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"trl-entropy: The chat template of {base} refuses a chat of ")


def test_chats_are_asked_as_they_stand(base: Path, tmp_path: Path):
    """A chat is rendered as it is, the system prompt before it; a text is put into the benchmark's prompt."""
    rows = [
        {"prompt": [{"role": "system", "content": "c"}, {"role": "user", "content": "a b"}], "solution": "a"},
        {"prompt": [{"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}], "solution": "a"},
        {"prompt": "f", "solution": "a"},
        {"prompt": [], "solution": "a"},
    ]
    file = tmp_path / "chat.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = Benchmark("mine", str(file), "test", ("prompt",), ("solution",), prompt="g {problem}")
    problems = load_problems(benchmark)
    assert [problem.prompt for problem in problems] == [rows[0]["prompt"], "g f"]
    engine = load_transformers(str(base), device="cpu", chat="never", system_prompt=None)
    word = {name: i for i, name in enumerate(WORDS)}
    assert engine.encode([rows[0]["prompt"]]) == [[word["c"], word["a"], word["b"]]]
    assert engine.encode(["g f"]) == [[word["g"], word["f"]]]
    engine = load_transformers(str(base), device="cpu", system_prompt="h")
    assert engine.encode([rows[0]["prompt"]]) == [[word["h"], word["c"], word["a"], word["b"]]]
