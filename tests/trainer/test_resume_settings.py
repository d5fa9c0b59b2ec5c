"""What a run takes over from a checkpoint when its settings are not those of the run that saved it."""

import json
from pathlib import Path

import pytest

from tests.trainer.resumed import SAVING, said
from tests.trainer.rig import make_trainer
from trl_entropy.reliability.checkpoints import flaw
from trl_entropy.step.observer import Observer
from trl_entropy.step.state import STATE_FILE, EntropyState


pytestmark = pytest.mark.slow


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
    assert "'entropy_guard'" in said(caplog, "restart")


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

    class Bonus(Observer):
        def before_loss(self, step, inputs):
            bonus.append(resumed.entropy_coef)

    resumed.observe(Bonus())
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
    assert "'siren_top_p': 0.9" in said(caplog, "siren") and "'siren_top_p': 0.8" in said(caplog, "siren")


def test_the_state_is_saved_with_the_model_alone(arguments, dataset, caplog):
    first = make_trainer(arguments(siren_coef=0.5, max_steps=2, save_only_model=True, **SAVING), dataset)
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-2"
    assert not (checkpoint / "optimizer.pt").exists()
    assert flaw(checkpoint) is None
    resumed = make_trainer(arguments(siren_coef=0.5, max_steps=3, **SAVING), dataset)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.methods[0].state.anchor == first.methods[0].state.anchor
    assert said(caplog, "restart") == ""
    assert "save_only_model" in said(caplog, "resumption")
