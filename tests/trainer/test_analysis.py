"""What the trainer records on request: the token map, the dynamics, the law, and the run's own log."""

import json
from pathlib import Path

import pytest
import torch

from tests.trainer.rig import make_trainer
from trl_entropy import metrics
from trl_entropy.callbacks.law_forecast import EntropyLawCallback
from trl_entropy.functional import token_covariance
from trl_entropy.step.observer import Observer


pytestmark = pytest.mark.slow


METHODS = (
    {},
    {"siren_coef": 0.5},
    {"clip_cov_ratio": 0.2, "clip_cov_low": 0.0},
    {"kl_cov_ratio": 0.2, "num_iterations": 2},
    {"kl_cov_ratio": 0.2, "num_iterations": 2, "entropy_scope": "micro_batch", "siren_coef": 0.5},
)


def rows(trainer, name: str) -> list[dict]:
    return [json.loads(line) for line in (Path(trainer.args.output_dir) / name).read_text().splitlines()]


def weights(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("given", METHODS, ids=str)
def test_the_token_map_shows_what_the_loss_did(arguments, dataset, given):
    trainer = make_trainer(arguments(**given, log_token_map=3, log_token_map_steps=2), dataset)
    seen = []

    class Spy(Observer):
        def after_loss(self, step, micro, marks):
            seen.append((step, micro))

    trainer.observe(Spy())
    trainer.train()
    found = rows(trainer, "token_map.jsonl")
    wanted = [step for step in range(1, trainer.state.global_step + 1) if step == 1 or step % 2 == 0]
    assert [row["step"] for row in found] == [step for step in wanted for _ in range(3)]

    first = seen[0][1]
    row, counted = found[0], first.mask[0]
    assert row["entropy"] == pytest.approx(first.entropy[0][counted].tolist(), abs=1e-4)
    chosen = {name: value for of in first.chosen.values() for name, value in of.items()}
    covariance = chosen.get("covariance", token_covariance(first.logps, first.advantages, first.mask))
    assert row["covariance"] == pytest.approx(covariance[0][counted].tolist(), abs=1e-4)
    assert ("kept" in row) == ("siren_coef" in given)
    for key, method in (("clipped", "clip_cov"), ("penalised", "kl_cov")):
        switch = f"{method}_ratio"
        marked = [row for row in found if key in row]
        assert bool(marked) == (switch in given)
        for row in marked[::3]:  # the first completion of a snapshot
            micro = next(micro for step, micro in seen if step == row["step"])
            assert row[key] == micro.chosen[method]["selected"][0][micro.mask[0]].nonzero().squeeze(-1).tolist()
    if "kl_cov_ratio" in given:
        assert "penalised" not in found[0]  # nothing is penalised before the policy has moved


def test_recording_changes_no_weight(arguments, dataset):
    plain = make_trainer(arguments(siren_coef=0.5), dataset)
    plain.train()
    watched = make_trainer(arguments(siren_coef=0.5, log_token_map=2, log_entropy_dynamics=True), dataset)
    watched.add_callback(EntropyLawCallback(watched, every=1, warmup=8))
    watched.train()
    assert torch.equal(weights(plain), weights(watched))


def test_dynamics_and_law_reach_the_log_under_the_tables_names(arguments, dataset):
    trainer = make_trainer(arguments(max_steps=24, log_entropy_dynamics=True), dataset)
    law = EntropyLawCallback(trainer, every=1, warmup=8)
    trainer.add_callback(law)
    trainer.train()
    keys = {key for row in trainer.state.log_history for key in row}
    known = {metric.key for metric in metrics.ANALYSIS_TABLE}
    assert {key for key in keys if key.startswith(("law/", "dynamics/"))} <= known
    assert {key for key in known if key.startswith("dynamics/")} <= keys
    assert rows(trainer, "entropy_dynamics.jsonl")[0]["step"] == 1
    assert law.fit is not None


def test_dynamics_are_measured_as_often_as_asked(arguments, dataset):
    trainer = make_trainer(arguments(max_steps=5, log_entropy_dynamics=True, log_entropy_dynamics_steps=2), dataset)
    trainer.train()
    assert [row["step"] for row in rows(trainer, "entropy_dynamics.jsonl")] == [1, 2, 4]


def test_the_run_leaves_its_log_and_an_older_one_is_kept(arguments, dataset):
    given = arguments(siren_coef=0.5)
    first, second = make_trainer(given, dataset), make_trainer(given, dataset)
    first.train()
    before = rows(first, "metrics.jsonl")
    assert [row["step"] for row in before][:2] == [1, 2] and "siren/entropy" in before[0]
    second.train()
    assert rows(second, "metrics-1.jsonl") == before
    settings = json.loads((Path(second.args.output_dir) / "settings.json").read_text())
    assert settings["method"] == "siren" and settings["arguments"]["siren_coef"] == 0.5
