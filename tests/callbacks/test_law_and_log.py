"""The forecast in the log, and the files a run leaves."""

import json
import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from trl import GRPOConfig, GRPOTrainer

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.callbacks.law_forecast import EntropyLawCallback
from trl_entropy.callbacks.run_log import RunLogCallback, changed_arguments, method_of
from trl_entropy.law import fit_entropy_law

from ..conftest import tiny_model, tiny_tokenizer, vowel_reward


def fake_trainer():
    return SimpleNamespace(_metrics={"train": defaultdict(list)})


def feed(callback, entropy, reward):
    state = SimpleNamespace(log_history=[])
    callback.on_train_begin(None, state, None)
    for h, r in zip(entropy, reward, strict=True):
        callback.on_log(None, None, None, logs={"entropy": h, "reward": r})
        callback.on_step_begin(None, None, None)


def test_the_forecast_is_the_fit_of_the_points_so_far():
    trainer = fake_trainer()
    entropy = np.linspace(1.0, 0.3, 25)
    reward = 0.6 - 0.2 * np.exp(entropy) + np.random.default_rng(0).normal(0, 0.005, 25)
    feed(EntropyLawCallback(trainer, every=5, warmup=10), entropy, reward)
    logged = trainer._metrics["train"]
    assert len(logged["law/ceiling"]) == 4  # at 10, 15, 20 and 25 points
    for n, a in zip((10, 15, 20, 25), logged["law/a"], strict=True):
        assert a == pytest.approx(fit_entropy_law(entropy[:n], reward[:n]).a)
    assert logged["law/ceiling"][-1] == pytest.approx(0.4, abs=0.02)
    assert logged["law/ceiling"][-1] == pytest.approx(logged["law/b"][-1] - logged["law/a"][-1])


def test_an_unfit_fit_is_not_logged():
    trainer = fake_trainer()
    callback = EntropyLawCallback(trainer, every=5, warmup=10)
    feed(callback, np.full(20, 0.5), np.linspace(0, 1, 20))
    assert callback.fit.verdict == "unfit"
    assert not trainer._metrics["train"]


def test_a_reward_that_stands_still_or_an_entropy_in_bits_does_not_stop_training(caplog):
    trainer = fake_trainer()
    callback = EntropyLawCallback(trainer, every=1, warmup=8)
    feed(callback, np.linspace(1.0, 0.3, 25), np.full(25, 0.7))
    assert callback.fit.reasons == ("reward is constant at 0.7",)
    feed(callback, np.linspace(40.0, 30.0, 10), np.linspace(0, 1, 10))
    assert "No forecast of the entropy law: entropy reaches 40" in caplog.text
    assert not trainer._metrics["train"]


def test_a_resumed_run_takes_up_its_points_and_skips_what_is_not_a_point():
    callback = EntropyLawCallback(fake_trainer())
    history = [{"entropy": 1.0, "reward": 0.1}, {"loss": 1.0}, {"entropy": None, "reward": 0.2}, {"eval_reward": 0.3}]
    callback.on_train_begin(None, SimpleNamespace(log_history=history), None)
    callback.on_log(None, None, None, logs={"entropy": math.nan, "reward": 0.2})
    callback.on_log(None, None, None, logs=None)
    assert (callback.entropy, callback.reward) == ([1.0], [0.1])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="every is 0"):
        EntropyLawCallback(fake_trainer(), every=0)
    with pytest.raises(ValueError, match="at least 8"):
        EntropyLawCallback(fake_trainer(), warmup=3)


def test_a_run_leaves_its_settings_and_its_figures(arguments, dataset, tmp_path):
    args = GRPOConfig(**arguments(max_steps=9, entropy_coef=1e-3))
    trainer = GRPOTrainer(tiny_model(), vowel_reward, args, train_dataset=dataset, processing_class=tiny_tokenizer())
    trainer.add_callback(RunLogCallback())
    trainer.add_callback(EntropyLawCallback(trainer, every=1, warmup=8))
    trainer.train()
    folder = tmp_path / "run"
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["method"] == "bonus"
    assert settings["seed"] == 7
    assert settings["arguments"]["learning_rate"] == 1e-2
    assert "weight_decay" not in settings["arguments"]  # at its default
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(1, 10), 9]
    for line, entry in zip(lines, trainer.state.log_history, strict=True):
        assert line.get("entropy") == entry.get("entropy")
    fitted = [entry["step"] for entry in trainer.state.log_history if entry.get("law/a") is not None]
    assert set(fitted) <= {9}  # the fit at point 8 is in the next log, unless it was unfit


def test_methods_are_named_by_what_is_on():
    assert method_of(SimpleNamespace()) == "plain"
    assert method_of(SimpleNamespace(entropy_coef=0.0, use_adaptive_entropy=True)) == "bonus"
    assert method_of(SimpleNamespace(siren_coef=0.5, kl_cov_ratio=0.002)) == "siren+kl_cov"


def test_secrets_stay_out_of_the_settings(tmp_path):
    args = GRPOConfig(output_dir=str(tmp_path), hub_token="hf_secret", use_cpu=True, bf16=False)
    assert "hf_secret" not in json.dumps(changed_arguments(args), default=str)


def test_settings_hold_no_secret_and_no_local_path(tmp_path, arguments, dataset):
    given = arguments(model_init_kwargs={"token": "hf_secret", "revision": "main"})
    assert changed_arguments(EntropyGRPOConfig(**given))["model_init_kwargs"] == {"revision": "main"}
    folder = tmp_path / "tiny"
    tiny_model().save_pretrained(folder)
    trainer = EntropyGRPOTrainer(
        str(folder), vowel_reward, EntropyGRPOConfig(**arguments()), dataset, processing_class=tiny_tokenizer()
    )
    trainer.train()
    settings = json.loads((Path(trainer.args.output_dir) / "settings.json").read_text())
    assert settings["model"] == "tiny"
