"""Generation: padding, seeds, entropy, truncation; resuming a killed evaluation."""

import json
import math

import pytest
import torch

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.evaluate.problems import Problem
from trl_entropy.evaluate.run import draw, evaluate
from trl_entropy.evaluate.sampling import Sampling, plan, row_seed
from trl_entropy.evaluate.store import SampleStore
from trl_entropy.evaluate.transformers_engine import TransformersEngine


PROBLEMS = [Problem(str(i), prompt, "a") for i, prompt in enumerate(["a b c d e f g h", "a", "b c d"])]
SAMPLING = Sampling(n=4, temperature=1.0, max_new_tokens=12, seed=3)


@pytest.fixture(scope="module")
def engine():
    return TransformersEngine(tiny_model(), tiny_tokenizer())


def test_greedy_does_not_depend_on_the_padding(engine):
    greedy = Sampling(n=1, temperature=0.0, max_new_tokens=12)
    prompts = [problem.prompt for problem in PROBLEMS]
    together = engine.generate(prompts, greedy, [0, 0, 0])
    for prompt, completion in zip(prompts, together, strict=True):
        [alone] = engine.generate([prompt], greedy, [0])
        assert alone.text == completion.text
        assert alone.entropy == pytest.approx(completion.entropy, abs=1e-5)
        assert alone.tokens == completion.tokens


def test_entropy_and_length_count_the_sampled_tokens_only(engine):
    completions = engine.generate(["a b"] * 24, Sampling(n=1, temperature=0.7, top_p=0.9, max_new_tokens=12), [1] * 24)
    assert len({c.tokens for c in completions}) > 1
    tokenizer, model = engine.tokenizer, engine.model
    for completion in completions:
        ids = tokenizer("a b ")["input_ids"]
        answer = tokenizer(completion.text)["input_ids"] + ([] if completion.truncated else [tokenizer.eos_token_id])
        if tokenizer.unk_token_id in answer or len(answer) != completion.tokens:
            continue  # the text left out a special token in its middle
        with torch.no_grad():
            logps = model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        expected = -(logps.exp() * logps).sum(-1).mean().item()  # at temperature 1, without the nucleus
        assert completion.entropy == pytest.approx(expected, abs=1e-4)
        assert completion.truncated == (completion.tokens == 12 and answer[-1] != tokenizer.eos_token_id)


def test_samples_depend_on_the_seed_alone(engine):
    torch.manual_seed(0)
    first = draw(engine, PROBLEMS, SAMPLING, batch_size=5)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = draw(engine, PROBLEMS, SAMPLING, batch_size=5)
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    assert first != draw(engine, PROBLEMS, Sampling(4, 1.0, 1.0, 12, seed=4), batch_size=5)
    assert len({c.text for c in first[0]}) > 1  # the samples of a problem differ


def test_the_plan_covers_every_row_once():
    rows = [row for batch in plan([5, 9, 1, 9], n=3, batch_size=5) for row in batch]
    assert sorted(rows) == [(i, j) for i in range(4) for j in range(3)]
    assert [i for i, _ in rows] == sorted([i for i, _ in rows], key=lambda i: (-[5, 9, 1, 9][i], i))
    assert len({row_seed(0, i, j) for i, j in rows} | {row_seed(1, i, j) for i, j in rows}) == 24
    with pytest.raises(ValueError, match="batch_size"):
        list(plan([1], 1, 0))


class Killed(Exception):
    pass


class Dying:
    """An engine that is killed at its third batch."""

    name = "transformers"

    def __init__(self, engine, batches):
        self.engine, self.left, self.calls = engine, batches, 0

    def lengths(self, prompts):
        return self.engine.lengths(prompts)

    def generate(self, *arguments):
        self.calls += 1
        if self.calls > self.left:
            raise Killed
        return self.engine.generate(*arguments)


def test_a_killed_evaluation_goes_on_where_it_stopped(engine, tmp_path):
    whole = draw(engine, PROBLEMS, SAMPLING, 3, SampleStore(tmp_path / "whole", {"seed": 3}))
    folder = tmp_path / "killed"
    with pytest.raises(Killed):
        draw(Dying(engine, 2), PROBLEMS, SAMPLING, 3, SampleStore(folder, {"seed": 3}))
    lines = (folder / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 6
    with (folder / "samples.jsonl").open("a") as file:
        file.write('{"problem": 1, "sam')  # killed inside a line
    rest = Dying(engine, 2)
    assert draw(rest, PROBLEMS, SAMPLING, 3, SampleStore(folder, {"seed": 3})) == whole
    assert rest.calls == 2
    nothing = Dying(None, 0)
    assert draw(nothing, PROBLEMS, SAMPLING, 3, SampleStore(folder, {"seed": 3})) == whole
    assert all(json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines())


def test_samples_of_other_settings_are_refused(tmp_path):
    SampleStore(tmp_path, {"seed": 3, "n": 4})
    (tmp_path / "samples.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"seed: 3 there, 4 now"):
        SampleStore(tmp_path, {"seed": 4, "n": 4})
    SampleStore(tmp_path, {"seed": 4, "n": 4}, overwrite=True)
    assert not (tmp_path / "samples.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"n": 0}, "n, the"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 0.0}, "greedy"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"max_new_tokens": 0}, "max_new"),
    ],
)
def test_bad_sampling_is_refused(options, word):
    with pytest.raises(ValueError, match=word):
        Sampling(**options)


def test_chat_templates(engine):
    assert engine.templated
    without = TransformersEngine(tiny_model(), tiny_tokenizer(), chat="never")
    assert not without.templated
    tokenizer = tiny_tokenizer()
    system = TransformersEngine(tiny_model(), tokenizer, system_prompt="s")
    assert system.lengths(["a"]) == [2]
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        TransformersEngine(tiny_model(), tokenizer, system_prompt="s")


def test_a_model_without_an_end_token_is_refused():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="end token"):
        TransformersEngine(model, tokenizer)


def test_evaluate_in_memory(engine):
    result = evaluate(engine, PROBLEMS, SAMPLING, ks=[1, 4], batch_size=6)
    assert set(result.summary) >= {"avg@4", "pass@1", "pass@4", "maj@4", "tokens", "truncated", "entropy"}
    assert 0 < result.summary["entropy"]["mean"] < math.log(39)
    with pytest.raises(ValueError, match=r"1\.\.n = 4"):
        evaluate(engine, PROBLEMS, SAMPLING, ks=[5])


def test_gradient_checkpointing_and_modes_are_restored():
    model = tiny_model().train()
    model.gradient_checkpointing_enable()
    model.model.layers[0].eval()
    TransformersEngine(model, tiny_tokenizer()).generate(["a"], Sampling(n=1, max_new_tokens=2), [0])
    assert model.is_gradient_checkpointing
    assert model.training
    assert not model.model.layers[0].training


def test_the_models_own_generation_settings_do_not_leak_into_the_samples():
    plain, penalised = tiny_model(), tiny_model()
    own = penalised.generation_config
    own.update(repetition_penalty=50.0, no_repeat_ngram_size=1, typical_p=0.1, min_p=0.9, epsilon_cutoff=0.5, top_k=1)
    own.update(bad_words_ids=[[5], [6]], suppress_tokens=[7, 8], min_new_tokens=9)
    for sampling in (SAMPLING, Sampling(n=1, temperature=0.0, max_new_tokens=12)):
        expected, found = (
            TransformersEngine(model, tiny_tokenizer()).generate(["a b c"] * 6, sampling, [1] * 6)
            for model in (plain, penalised)
        )
        assert found == expected
    assert penalised.generation_config is own
    assert own.repetition_penalty == 50.0


def test_damaged_stores_are_named_or_drawn_again(engine, tmp_path, caplog):
    whole = draw(engine, PROBLEMS, SAMPLING, 3, SampleStore(tmp_path, {"seed": 3}))
    path, settings = tmp_path / "samples.jsonl", tmp_path / "eval_settings.json"
    lines = path.read_text().splitlines()
    damaged = [*lines[:2], '{"problem": 0}', "nonsense", "[1]", *lines[5:]]
    path.write_bytes("\n".join(damaged).encode() + b"\n\xff\n")
    again = SampleStore(tmp_path, {"seed": 3})
    assert len(again.samples) == len(lines) - 3
    for number in (3, 4, 5, len(lines) + 1):
        assert f"{path}:{number}: not a sample; it is drawn again" in caplog.text
    assert draw(engine, PROBLEMS, SAMPLING, 3, again) == whole
    for content in ("", "[]", "{"):
        settings.write_text(content)
        with pytest.raises(ValueError, match=r"eval_settings.json is damaged.*--overwrite"):
            SampleStore(tmp_path, {"seed": 3})
    assert SampleStore(tmp_path, {"seed": 3}, overwrite=True).samples == {}
    settings.write_text("")
    SampleStore(tmp_path, {"seed": 4})  # no sample was drawn under them
    assert json.loads(settings.read_text()) == {"seed": 4}


def test_settings_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    SampleStore(tmp_path, {"seed": 3})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        SampleStore(tmp_path, {"seed": 4}, overwrite=True)
    assert json.loads((tmp_path / "eval_settings.json").read_text()) == {"seed": 3}
