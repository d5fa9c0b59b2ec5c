"""The evaluation callback: what it logs, and that a run does not notice it."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from tests.conftest import tiny_model, tiny_tokenizer, vowel_reward
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.callbacks.heldout import EvaluationCallback
from trl_entropy.evaluate.problems import Problem


pytestmark = pytest.mark.slow


PROBLEMS = [Problem(str(i), prompt, "a") for i, prompt in enumerate(["a b", "c d e f", "g"])]


def train(arguments, dataset, evaluate: bool, trainer=GRPOTrainer, config=GRPOConfig, peft_config=None, **overrides):
    trainer = trainer(
        model=tiny_model(),
        reward_funcs=vowel_reward,
        args=config(**arguments(**overrides)),
        train_dataset=dataset,
        processing_class=tiny_tokenizer(),
        peft_config=peft_config,
    )
    if evaluate:
        trainer.add_callback(EvaluationCallback(trainer, PROBLEMS, every=2, n=4, ks=[1, 2, 4], batch_size=5))
    trainer.train()
    return trainer


def test_the_weights_are_the_same_with_and_without(arguments, dataset):
    plain = train(arguments, dataset, evaluate=False, max_steps=4)
    watched = train(arguments, dataset, evaluate=True, max_steps=4)
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    logs = [{k: v for k, v in row.items() if k in ("loss", "reward", "entropy")} for row in plain.state.log_history]
    assert logs == [
        {k: v for k, v in row.items() if k in ("loss", "reward", "entropy")} for row in watched.state.log_history
    ]

    rows = [row for row in watched.state.log_history if "heldout/pass_at_1" in row]
    assert [row["step"] for row in rows] == [1, 2, 4]  # the initial policy's figures come with the first log
    names = "pass_at_1 pass_at_2 pass_at_4 maj_at_2 maj_at_4 distinct_correct distinct tokens truncated entropy"
    assert {k for k in rows[0] if k.startswith("heldout/")} == {f"heldout/{name}" for name in names.split()}
    law = Path(watched.args.output_dir, "entropy_reward.jsonl").read_text()
    lines = [json.loads(line) for line in law.splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4]
    for line, row in zip(lines, rows, strict=True):
        assert line["source"] == "heldout"
        assert line["entropy"] == pytest.approx(row["heldout/entropy"])
        assert line["reward"] == pytest.approx(row["heldout/pass_at_1"])
    assert 0 < lines[0]["entropy"] < np.log(39)


@pytest.mark.parametrize("lora", [False, True])
def test_it_leaves_siren_alone(lora, arguments, dataset):
    """SIREN changes the head's forward: it must be the same before and after an evaluation, also under LoRA."""
    options = {"trainer": EntropyGRPOTrainer, "config": EntropyGRPOConfig, "siren_coef": 0.5, "max_steps": 3}

    def run(evaluate: bool):
        peft = LoraConfig(r=4, target_modules=["q_proj", "v_proj"]) if lora else None
        return train(arguments, dataset, evaluate, peft_config=peft, **options)

    plain, watched = run(False), run(True)
    for a, b in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b)
    keys = ("siren/entropy", "siren/anchor", "siren/penalty", "loss")
    logs = [[{k: row.get(k) for k in keys} for row in run.state.log_history] for run in (plain, watched)]
    assert logs[0] == logs[1]
    assert any("heldout/pass_at_4" in row for row in watched.state.log_history)


def test_a_log_over_several_evaluations_shows_the_last(arguments, dataset):
    watched = train(arguments, dataset, evaluate=True, max_steps=4, logging_steps=4)
    [row] = [row for row in watched.state.log_history if "heldout/pass_at_1" in row]
    lines = [
        json.loads(line) for line in Path(watched.args.output_dir, "entropy_reward.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [0, 2, 4]
    assert len({line["entropy"] for line in lines}) == 3
    assert row["heldout/entropy"] == pytest.approx(lines[-1]["entropy"])


def test_the_last_policy_is_evaluated_and_logged_off_the_schedule_too(arguments, dataset):
    watched = train(arguments, dataset, evaluate=True, max_steps=3, logging_steps=2)
    law = Path(watched.args.output_dir, "entropy_reward.jsonl").read_text()
    points = [json.loads(line) for line in law.splitlines()]
    assert [point["step"] for point in points] == [0, 2, 3]
    *_, last = [row for row in watched.state.log_history if "loss" in row]
    assert (last["step"], last["heldout/entropy"]) == (3, pytest.approx(points[-1]["entropy"]))


def test_random_states_modes_and_checkpointing_are_restored(arguments, dataset):
    trainer = GRPOTrainer(
        model=tiny_model(),
        reward_funcs=vowel_reward,
        args=GRPOConfig(**arguments()),
        train_dataset=dataset,
        processing_class=tiny_tokenizer(),
    )
    trainer.model.gradient_checkpointing_enable()
    trainer.model.train()
    trainer.model.model.layers[0].eval()
    callback = EvaluationCallback(trainer, PROBLEMS, n=2, grader="math")
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = callback._figures()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert trainer.model.is_gradient_checkpointing
    assert trainer.model.model.layers[1].training
    assert not trainer.model.model.layers[0].training
    second = callback._figures()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])  # the same seed each time
    callback.reward.pool.close()


@pytest.mark.parametrize(
    ("options", "word"),
    [({"problems": []}, "one problem"), ({"every": 0}, "every"), ({"ks": [9]}, "1..n"), ({"temperature": -1}, "temp")],
)
def test_bad_settings_are_refused(arguments, dataset, options, word):
    class Trainer:
        args = GRPOConfig(**arguments())

    with pytest.raises(ValueError, match=word):
        EvaluationCallback(Trainer(), **{"problems": PROBLEMS, **options})


@pytest.mark.distributed
def test_two_processes_share_the_problems(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29633"]
    command += ["-m", "tests.eval_callback_ranks", str(tmp_path)]
    subprocess.run(command, check=True, timeout=240, cwd=Path(__file__).parents[1])
    reports = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    for report in reports:
        assert (report["processes"], report["type"]) == (2, "DistributedType.MULTI_CPU")
        assert report["same"]
    points = (tmp_path / "watched" / "entropy_reward.jsonl").read_text().splitlines()
    assert [json.loads(point)["step"] for point in points] == [0, 1, 2]


def test_the_kind_of_gradient_checkpointing_is_kept(arguments, dataset):
    """Re-entrant checkpointing is what PEFT needs under ZeRO-3, for one."""
    kwargs = {"use_reentrant": True}
    given = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": kwargs, "max_steps": 1}
    watched = train(arguments, dataset, evaluate=False, **given)
    callback = EvaluationCallback(watched, PROBLEMS, n=2)
    found = []
    watched.model.gradient_checkpointing_enable = lambda gradient_checkpointing_kwargs=None: found.append(
        gradient_checkpointing_kwargs
    )
    with callback._whole_model():
        pass
    assert found == [kwargs]
