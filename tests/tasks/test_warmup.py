"""The warm-up: deterministic, cached under a key that holds its settings, and whole or not there at all."""

import json

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from tests.tasks.base_model import byte_model
from trl_entropy.tasks import TASKS
from trl_entropy.tasks.tiny_model import build_model
from trl_entropy.tasks.warmup import WarmupSettings, default_cache_dir, load_or_warm_up, warm_up


pytestmark = pytest.mark.slow


TINY = WarmupSettings(steps=6, batch_size=32)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_model_has_the_stated_size():
    assert build_model().num_parameters() == 371_712


def test_same_settings_same_model_and_the_callers_random_state_is_untouched():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    losses = []
    first, _ = warm_up(TINY, lambda step, loss: losses.append((step, loss)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, _ = warm_up(TINY)
    assert torch.equal(weights(first), weights(again))
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 6]
    assert losses[-1][1] < losses[0][1]
    other, _ = warm_up(WarmupSettings(steps=6, batch_size=32, seed=1))
    assert not torch.equal(weights(first), weights(other))


def test_it_trains_on_one_thread_and_gives_the_others_back():
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        warm_up(WarmupSettings(steps=2, batch_size=2), lambda *_: seen.append(torch.get_num_threads()))
        assert (seen, torch.get_num_threads()) == ([1, 1], 2)
    finally:
        torch.set_num_threads(before)


def test_cache_is_used_and_keyed_by_the_settings(tmp_path):
    folder, cached = load_or_warm_up(TINY, tmp_path)
    assert not cached
    trained, _ = warm_up(TINY)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(weights(loaded), weights(trained))

    steps = []
    assert load_or_warm_up(TINY, tmp_path, lambda step, _: steps.append(step)) == (folder, True)
    assert not steps
    other, cached = load_or_warm_up(WarmupSettings(steps=7, batch_size=32), tmp_path)
    assert not cached
    assert other != folder
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, other.name}


def test_an_interrupted_warm_up_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers.LlamaForCausalLM.save_pretrained", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_or_warm_up(TINY, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_warm_up_that_another_process_finished_first_is_used(tmp_path):
    folder, _ = load_or_warm_up(TINY, tmp_path / "other")

    def finish_elsewhere(step, loss):
        if step == TINY.steps:
            (tmp_path / "mine").mkdir()
            folder.rename(tmp_path / "mine" / folder.name)

    found, _ = load_or_warm_up(TINY, tmp_path / "mine", finish_elsewhere)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [found.name]


SUMS = TASKS["sums"]


def test_from_a_pretrained_model_the_loss_is_that_of_the_answer_and_its_end(tmp_path):
    """Against a loop over single examples without padding. Its end token pads as well, and counts once."""
    base = byte_model(tmp_path / "base")
    settings = WarmupSettings(steps=2, batch_size=5, learning_rate=1e-3, seed=3, model=base)
    losses = []
    trained, tokenizer = warm_up(settings, lambda _, loss: losses.append(loss), SUMS)
    model = AutoModelForCausalLM.from_pretrained(base)
    draw = torch.Generator().manual_seed(3)
    lessons = SUMS.lessons()
    chosen = torch.randint(len(lessons), (5,), generator=draw).tolist()
    shares = torch.rand(5, generator=draw).tolist()
    total = count = 0
    for lesson, share in zip(chosen, shares, strict=True):
        prompt, answers = lessons[lesson]
        asked, answer = tokenizer(prompt).input_ids, tokenizer(" " + answers[int(share * len(answers))]).input_ids
        ids = torch.tensor([*asked, *answer, tokenizer.eos_token_id])
        logps = model(ids[None, :-1]).logits[0].log_softmax(-1)
        total += -logps[len(asked) - 1 :].gather(1, ids[len(asked) :, None]).sum().item()
        count += len(answer) + 1
    assert losses[0] == pytest.approx(total / count, rel=1e-5)
    assert not torch.equal(weights(trained), weights(model))


def test_the_cache_tells_pretrained_weights_apart(tmp_path):
    base = byte_model(tmp_path / "base")
    settings = WarmupSettings(steps=2, batch_size=2, model=base)
    first, cached = load_or_warm_up(settings, tmp_path / "cache", task=SUMS)
    assert not cached and load_or_warm_up(settings, tmp_path / "cache", task=SUMS) == (first, True)
    byte_model(tmp_path / "base", seed=1)
    other, cached = load_or_warm_up(settings, tmp_path / "cache", task=SUMS)
    assert not cached and other != first


def test_the_cache_of_the_tiny_model_is_that_of_its_settings_alone(tmp_path):
    folder, _ = load_or_warm_up(TINY, tmp_path)
    given = {"steps": 6, "batch_size": 32, "learning_rate": 2e-3, "seed": 0, "format": 2}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    assert json.loads((folder / "warmup.json").read_text()) == {**given, **versions}


def test_cache_folder_follows_the_xdg_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "trl-entropy"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "trl-entropy"


def test_settings_that_cannot_train_are_refused():
    with pytest.raises(ValueError, match="at least 2 steps"):
        WarmupSettings(steps=1)
