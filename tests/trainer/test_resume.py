"""What a run takes over from a checkpoint when its settings are not those of the run that saved it."""

import json
import math
from pathlib import Path

import pytest
import torch
from trl import GRPOTrainer

from tests.trainer.rig import fixed_batch, make_trainer, select, step_gradient, with_old_logps
from trl_entropy.reliability.checkpoints import flaw
from trl_entropy.reliability.reward_watch import RewardError
from trl_entropy.step.state import STATE_FILE, EntropyState


SAVING = {"save_strategy": "steps", "save_steps": 2}


def state_of(folder: Path) -> dict:
    return json.loads((folder / STATE_FILE).read_text())["state"]


def edit_state(folder: Path, **parts) -> None:
    """Change what a checkpoint remembers of a method or controller."""
    state = EntropyState.load(folder)
    for key, changes in parts.items():
        state.parts[key] = {**state.parts.get(key, {}), **changes}
    state.save(folder)


def test_a_lowered_coefficient_is_whole_again_without_the_guard(arguments, dataset, caplog):
    first = make_trainer(arguments(siren_coef=0.5, max_steps=2, **SAVING), dataset)
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-2"
    edit_state(checkpoint, entropy_guard={"scales": {"siren": 0.25, "entropy_coef": 0.25}}, siren={"anchor": 5.0})
    resumed = make_trainer(arguments(siren_coef=0.5, max_steps=3, **SAVING), dataset)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    row = next(row for row in resumed.state.log_history if row.get("step") == 3)
    assert row["siren/penalty"] == pytest.approx(0.5 * (row["siren/entropy"] - 5.0) ** 2, rel=1e-4)
    assert "holds the state of 'entropy_guard', which is off in this run" in caplog.text


def test_a_lowered_coefficient_stays_lowered_under_the_guard(arguments, dataset):
    """SIREN's and the bonus's; the bounds are never left, so each step doubles the scale once."""
    guarded = {
        "siren_coef": 0.5, "entropy_coef": 0.04, "entropy_guard": "lower", "entropy_guard_high": 100.0, **SAVING,
    }  # fmt: skip
    first = make_trainer(arguments(**guarded, max_steps=2), dataset)
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-2"
    edit_state(checkpoint, entropy_guard={"scales": {"siren": 0.25, "entropy_coef": 0.25}}, siren={"anchor": 5.0})
    resumed = make_trainer(arguments(**guarded, max_steps=3), dataset)
    bonus = []
    compute = resumed._compute_loss
    resumed._compute_loss = lambda *args: (bonus.append(resumed.entropy_coef), compute(*args))[1]
    resumed.train(resume_from_checkpoint=str(checkpoint))
    row = next(row for row in resumed.state.log_history if row.get("step") == 3)
    assert row["siren/penalty"] == pytest.approx(0.25 * 0.5 * (row["siren/entropy"] - 5.0) ** 2, rel=1e-4)
    assert set(bonus) == {0.01}
    assert row["guard/scale"] == 0.5
    assert resumed.entropy_coef == 0.02


def test_an_anchor_survives_a_stretch_without_siren(arguments, dataset, caplog):
    tuned = {"siren_coef": 0.5, "siren_top_p": 0.9}
    first = make_trainer(arguments(**tuned, max_steps=2, **SAVING), dataset)
    first.train()
    run = Path(first.args.output_dir)
    anchor = state_of(run / "checkpoint-2")["parts"]["siren"]["anchor"]
    without = make_trainer(arguments(clip_cov_ratio=0.1, max_steps=4, **SAVING), dataset)
    without.train(resume_from_checkpoint=str(run / "checkpoint-2"))
    assert state_of(run / "checkpoint-4")["parts"]["siren"]["anchor"] == anchor
    again = make_trainer(arguments(**tuned, max_steps=6, **SAVING), dataset)
    again.train(resume_from_checkpoint=str(run / "checkpoint-4"))
    assert state_of(run / "checkpoint-6")["parts"]["siren"]["anchor"] == anchor
    other = make_trainer(arguments(siren_coef=0.5, max_steps=6, **SAVING), dataset)
    other.train(resume_from_checkpoint=str(run / "checkpoint-4"))
    assert state_of(run / "checkpoint-6")["parts"]["siren"]["anchor"] != anchor
    assert "the two do not compare" in caplog.text.replace("\n", " ")


def test_the_state_is_saved_with_the_model_alone(arguments, dataset, caplog):
    first = make_trainer(arguments(siren_coef=0.5, max_steps=2, save_only_model=True, **SAVING), dataset)
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-2"
    assert not (checkpoint / "optimizer.pt").exists()
    assert flaw(checkpoint) is None
    resumed = make_trainer(arguments(siren_coef=0.5, max_steps=3, **SAVING), dataset)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.methods[0].state.anchor == first.methods[0].state.anchor
    assert "holds no entropy state" not in caplog.text


@pytest.mark.parametrize("half_written", ['{"half": ', '{"figures": [{"name": "x"}]}'])
def test_a_card_that_cannot_be_made_loses_no_checkpoint(half_written, arguments, dataset, caplog):
    """Such as while `trl-entropy eval --output-dir RUN/evaluation` is writing."""
    trainer = make_trainer(arguments(siren_coef=0.5, max_steps=2, **SAVING), dataset)
    run = Path(trainer.args.output_dir)
    (run / "evaluation").mkdir(parents=True)
    (run / "evaluation" / "other.json").write_text(half_written)
    trainer.train()
    assert flaw(run / "checkpoint-2") is None
    assert "The model card lacks its section on entropy" in caplog.text


def test_a_failed_train_leaves_nothing_to_the_next(arguments, dataset):
    """The reward fails in the middle of a step; the step that is done again counts its own sequences only."""
    calls = []

    def flaky(completions, **_):
        calls.append(len(completions))
        if len(calls) == 2:
            raise KeyError("the grader is down")
        return [float(i % 2) for i in range(len(completions))]

    given = {"siren_coef": 0.5, "steps_per_generation": 1, "gradient_accumulation_steps": 2, "max_steps": 2}
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=flaky)
    with pytest.raises(RewardError):
        trainer.train()
    counted = []
    siren = trainer.methods[0]
    close = siren.close
    siren.close = lambda totals: (counted.append(totals["sequences"]), close(totals))[1]
    trainer.train()
    assert len(set(counted)) == 1, counted


def test_a_failed_push_loses_no_checkpoint(arguments, dataset, monkeypatch, caplog):
    def push(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GRPOTrainer, "_push_from_checkpoint", push)
    trainer = make_trainer(arguments(siren_coef=0.5, max_steps=2, **SAVING), dataset)
    trainer.args.push_to_hub = True
    trainer.train()
    assert flaw(Path(trainer.args.output_dir) / "checkpoint-2") is None
    assert "checkpoint-2 is saved, but pushing it failed" in caplog.text


def test_older_checkpoints_go_and_the_saved_arguments_are_the_given_ones(arguments, dataset):
    given = {**SAVING, "save_steps": 1, "save_total_limit": 2, "max_steps": 4}
    trainer = make_trainer(arguments(siren_coef=0.5, **given), dataset)
    trainer.train()
    run = Path(trainer.args.output_dir)
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-4"]
    saved = torch.load(run / "checkpoint-4" / "training_args.bin", weights_only=False)
    assert saved.save_total_limit == 2


def test_skipped_updates_are_counted_whatever_the_logging_cadence(arguments, dataset):
    trainer = make_trainer(arguments(siren_coef=0.5, max_steps=4, logging_steps=4), dataset)
    for _ in range(3):
        trainer.count_skipped_update()
    trainer.train()
    assert trainer.state.log_history[0]["faults/skipped_updates"] == 3


def test_the_share_that_counts_is_an_average_over_steps(arguments, dataset):
    trainer = make_trainer(arguments(siren_coef=0.5), dataset)
    totals = {
        "sequence_entropy": 2.0, "sequences": 8.0, "kept": 8.0, "tokens": 80.0, "nucleus_size": 99.0,
    }  # fmt: skip
    siren = trainer.methods[0]
    siren.close({**totals, "sequences_counted": 4.0})
    assert siren.state.counted_share == 0.5
    siren.close({**totals, "sequences_counted": 8.0})
    assert siren.state.counted_share == pytest.approx(0.9 * 0.5 + 0.1 * 1.0)
    siren.close({**totals, "sequences_counted": 0.0})  # nothing was measured: nothing changes
    assert siren.state.counted_share == pytest.approx(0.55)


def test_clip_cov_leaves_alone_what_two_sided_clipping_silences(arguments, dataset):
    """With delta, a token of negative advantage far above the old policy has no gradient left to remove."""
    given = {"clip_cov_ratio": 0.9, "clip_cov_low": -math.inf, "entropy_scope": "micro_batch", "delta": 1.5}
    trainer = make_trainer(arguments(**{**given, "clip_cov_low": -1e9, "clip_cov_high": 1e9}), dataset)
    batch = with_old_logps(trainer, fixed_batch(), shift=0.0)
    batch["old_per_token_logps"] = batch["old_per_token_logps"] - 1.0  # every ratio is e
    batch["advantages"] = -batch["advantages"].abs()
    chosen = []
    method = trainer.methods[0]
    select_tokens = method.select
    method.select = lambda *args: chosen.append(found := select_tokens(*args)) or found
    step_gradient(trainer, select(trainer, batch), 1)
    assert chosen and not chosen[0]["selected"].any()
