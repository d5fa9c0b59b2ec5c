"""What a run takes over from a checkpoint when its settings are not those of the run that saved it."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import Trainer
from trl import GRPOTrainer

from tests.reliability.test_run_folder import child, hold
from tests.trainer.rig import closings, make_trainer
from trl_entropy.reliability.checkpoints import EARLIER, SEAL, IncompleteCheckpointError, flaw, run_that_saved
from trl_entropy.reliability.reward_watch import RewardError
from trl_entropy.reliability.run_folder import FolderInUseError, new_run, owner_of
from trl_entropy.step.observer import Observer
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


def said(caplog, module: str) -> str:
    """All that a module of the package has warned of."""
    return "\n".join(
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("trl_entropy.") and record.name.endswith(f".{module}")
    )


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
    steps = closings(trainer.methods[0])
    trainer.train()
    assert [totals["sequences"] for totals, _ in steps] == [8.0, 8.0]


def test_a_failed_push_loses_no_checkpoint(arguments, dataset, monkeypatch, caplog):
    def push(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GRPOTrainer, "_push_from_checkpoint", push)
    trainer = make_trainer(arguments(siren_coef=0.5, max_steps=2, **SAVING), dataset)
    trainer.args.push_to_hub = True
    trainer.train()
    assert flaw(Path(trainer.args.output_dir) / "checkpoint-2") is None
    assert "checkpoint-2" in said(caplog, "resumption") and "Errno 28" in said(caplog, "resumption")


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


# --- "as if nothing had happened": a pass over four prompts is four optimizer steps, two generations ----------------

PROMPTS = ["a b", "c d e", "f g", "h i j k"]
METHODS = {"siren_coef": 0.5, "clip_cov_ratio": 0.1, "clip_cov_low": 0.01, "clip_cov_high": 9.0, **SAVING}


def in_memory():
    return Dataset.from_dict({"prompt": PROMPTS})


def stream():
    return IterableDataset.from_generator(lambda: ({"prompt": prompt} for prompt in PROMPTS))


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def figures(trainer) -> list[dict]:
    times = ("step_time", "train_", "sampling/")
    return [
        {key: value for key, value in row.items() if not key.startswith(times)}
        for row in trainer.state.log_history
        if "loss" in row
    ]


def logged(folder: str | Path, name: str = "metrics.jsonl") -> list[int]:
    lines = (Path(folder) / name).read_text(encoding="utf-8").splitlines()
    return [row["step"] for row in map(json.loads, lines) if "train_runtime" not in row]


@pytest.mark.parametrize("data", [in_memory, stream])
def test_resumed_after_the_first_epoch_is_uninterrupted(data, arguments, tmp_path):
    """At the end of the first pass, and within the second."""
    whole = make_trainer(arguments(**METHODS, max_steps=8), data())
    whole.train()
    for step in (4, 6):
        folder = tmp_path / str(step)
        shutil.copytree(Path(whole.args.output_dir) / f"checkpoint-{step}", folder / f"checkpoint-{step}")
        resumed = make_trainer(arguments(**METHODS, max_steps=8, output_dir=str(folder)), data())
        resumed.train(resume_from_checkpoint=True)
        assert torch.equal(weights(resumed), weights(whole)), step
        assert figures(resumed) == figures(whole), step


def test_the_same_trainer_resumes_exactly_after_it_failed(arguments, tmp_path):
    """In the middle of a generation: neither its completions nor its count of batches are taken over."""
    given = {**METHODS, "max_steps": 4, "gradient_accumulation_steps": 1}
    whole = make_trainer(arguments(**given, output_dir=str(tmp_path / "whole")), in_memory())
    whole.train()
    trainer = make_trainer(arguments(**given), in_memory())
    step = trainer.training_step
    count = []

    def failing(model, inputs, num_items_in_batch=None):
        count.append(1)
        if len(count) == 4:
            raise KeyError("once")
        return step(model, inputs, num_items_in_batch)

    trainer.training_step = failing
    with pytest.raises(KeyError):
        trainer.train()
    trainer.train(resume_from_checkpoint=True)
    assert torch.equal(weights(trainer), weights(whole))


def test_a_stream_whose_place_is_unknown_is_said(arguments, tmp_path, caplog):
    first = make_trainer(arguments(**METHODS, max_steps=2), stream())
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-2"
    content = json.loads((checkpoint / SEAL).read_text())
    del content["place"]
    (checkpoint / SEAL).write_text(json.dumps(content))
    make_trainer(arguments(**METHODS, max_steps=3), stream()).train(resume_from_checkpoint=str(checkpoint))
    assert "stream" in said(caplog, "resumption")


def test_whether_a_resume_is_exact_is_counted_in_batches_of_the_epoch(arguments, caplog):
    """Three batches a generation, two an update: an epoch of three batches has two updates, and ends a generation."""
    given = {
        "siren_coef": 0.5, "per_device_train_batch_size": 4, "steps_per_generation": 3,
        "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 1,
    }  # fmt: skip
    data = Dataset.from_dict({"prompt": PROMPTS[:3]})
    trainer = make_trainer(arguments(**given, max_steps=3), data)
    trainer.train()
    run = Path(trainer.args.output_dir)
    for step, inside in ((2, False), (3, True)):
        caplog.clear()
        make_trainer(arguments(**given, max_steps=step + 1), data).train(
            resume_from_checkpoint=str(run / f"checkpoint-{step}")
        )
        assert ("generation" in said(caplog, "resumption")) == inside, step


def test_other_settings_of_the_split_and_ignored_data_are_said(arguments, caplog):
    first = make_trainer(arguments(**METHODS, max_steps=2), in_memory())
    first.train()
    checkpoint = Path(first.args.output_dir) / "checkpoint-2"
    content = json.loads((checkpoint / SEAL).read_text())
    content["split"]["processes"] = 2
    (checkpoint / SEAL).write_text(json.dumps(content))
    other = arguments(**METHODS, max_steps=3, num_iterations=2, ignore_data_skip=True)
    make_trainer(other, in_memory()).train(resume_from_checkpoint=str(checkpoint))
    for reason in ("processes=2, this run has 1", "num_iterations=1, this run has 2", "ignore_data_skip=True"):
        assert reason in said(caplog, "resumption")
    assert "seed" not in said(caplog, "resumption")


# --- damaged and foreign checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["zeroed", "one bit"])
def test_damaged_weights_cost_two_steps_and_not_the_run(damage, arguments, dataset, caplog):
    first = make_trainer(arguments(**METHODS, max_steps=4), dataset)
    first.train()
    file = Path(first.args.output_dir) / "checkpoint-4" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5:] = bytes([content[-5] ^ 1, *content[-4:]]) if damage == "one bit" else bytes(5)
    content = content if damage == "one bit" else bytearray(len(content))
    file.write_bytes(content)
    resumed = make_trainer(arguments(**METHODS, max_steps=5), dataset)
    with pytest.raises(IncompleteCheckpointError, match=r"model\.safetensors"):
        resumed.train(resume_from_checkpoint=str(file.parent))
    resumed.train(resume_from_checkpoint=True)
    passed, taken = said(caplog, "resumption").splitlines()[:2]
    assert str(file.parent) in passed and "model.safetensors" in passed
    assert taken == f"Resuming from {file.parent.parent / 'checkpoint-2'}."
    assert logged(resumed.args.output_dir) == [1, 2, 3, 4, 5]
    assert flaw(file.parent) is None  # saved again
    assert not (file.parent.parent / EARLIER).exists()


def test_a_fresh_run_in_an_old_folder_is_the_one_that_is_resumed(arguments, dataset, caplog):
    run = Path(make_trainer(arguments(**METHODS), dataset).args.output_dir)
    make_trainer(arguments(**METHODS, max_steps=4), dataset).train()
    first = owner_of(run)
    assert first is not None and first.id is not None
    assert first == run_that_saved(run / "checkpoint-4")
    assert not caplog.records
    make_trainer(arguments(**METHODS, max_steps=2), dataset).train()  # and is killed
    second = owner_of(run)
    assert second is not None
    assert second.id != first.id
    for word in (first, second, "checkpoint-2, checkpoint-4"):
        assert str(word) in said(caplog, "resumption")
    assert flaw(run / EARLIER / first.id / "checkpoint-2") is None
    caplog.clear()
    third = make_trainer(arguments(**METHODS, max_steps=3), dataset)
    third.train(resume_from_checkpoint=True)
    assert "checkpoint-4" in said(caplog, "resumption") and str(first) in said(caplog, "resumption")
    assert owner_of(run) == second
    assert logged(run) == [1, 2, 3]
    assert logged(run, "metrics-1.jsonl") == [1, 2, 3, 4]


def test_a_fresh_run_without_a_checkpoint_is_not_taken_for_the_old_one(arguments, dataset):
    run = make_trainer(arguments(**METHODS, max_steps=2), dataset)
    run.train()
    make_trainer(arguments(siren_coef=0.5, max_steps=1), dataset).train()
    with pytest.raises(IncompleteCheckpointError, match="checkpoint-2"):
        make_trainer(arguments(**METHODS), dataset).train(resume_from_checkpoint=True)
    checkpoint = f"{run.args.output_dir}/checkpoint-2"
    make_trainer(arguments(**METHODS, max_steps=3), dataset).train(resume_from_checkpoint=checkpoint)  # by name


def test_back_to_an_earlier_checkpoint_is_a_branch(arguments, dataset):
    """Its logs end where it ends, its newest is its own, and what it leaves behind is kept."""
    kept = {**METHODS, "log_token_map": 1, "log_token_map_steps": 1, "log_entropy_dynamics": True}
    first = make_trainer(arguments(**kept, log_entropy_dynamics_steps=1, max_steps=6), dataset)
    first.train()
    run = Path(first.args.output_dir)
    branch = make_trainer(arguments(**kept, log_entropy_dynamics_steps=1, max_steps=3), dataset)
    branch.train(resume_from_checkpoint=str(run / "checkpoint-2"))
    for name in ("metrics", "token_map", "entropy_dynamics"):
        assert logged(run, f"{name}.jsonl") == [1, 2, 3]
        assert logged(run, f"{name}.abandoned.jsonl") == [3, 4, 5, 6]
    again = make_trainer(arguments(**kept, log_entropy_dynamics_steps=1, max_steps=4), dataset)
    again.train(resume_from_checkpoint=True)
    assert logged(run) == [1, 2, 3, 4]  # from checkpoint-2, not from the abandoned 6
    assert run_that_saved(run / "checkpoint-4").id == owner_of(run).id
    assert run_that_saved(run / "checkpoint-6").id == run_that_saved(run / "checkpoint-2").id != owner_of(run).id
    assert flaw(run / EARLIER / str(run_that_saved(run / "checkpoint-6").id) / "checkpoint-4") is None


def test_resumed_in_another_folder_the_logs_there_are_not_its_own(arguments, dataset, tmp_path):
    first = make_trainer(arguments(**METHODS, max_steps=2), dataset)
    first.train()
    other = arguments(**METHODS, max_steps=3, output_dir=str(tmp_path / "other"))
    make_trainer(other, dataset).train()
    make_trainer(other, dataset).train(resume_from_checkpoint=f"{first.args.output_dir}/checkpoint-2")
    assert logged(tmp_path / "other") == [3]
    assert logged(tmp_path / "other", "metrics-1.jsonl") == [1, 2, 3]


def test_a_second_run_is_refused_while_the_first_lives(arguments, dataset):
    trainer = make_trainer(arguments(**METHODS, max_steps=2), dataset)
    run, owner = Path(trainer.args.output_dir), new_run()
    with child(lambda: hold(run, owner)) as pid:
        with pytest.raises(FolderInUseError, match=rf"{owner.id}.*\b{pid}\b"):
            trainer.train()
        assert [path.name for path in run.iterdir()] == ["_run_owner.json"]
        os.kill(pid, signal.SIGCONT)  # it still lives
    trainer.train()


def test_the_newest_stays_beside_the_best(arguments, dataset):
    """With a limit of 1 transformers itself deletes the newest at the end."""
    given = {**METHODS, "save_steps": 1, "save_total_limit": 1, "max_steps": 3}
    given |= {
        "eval_strategy": "steps",
        "eval_steps": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "best",
        "greater_is_better": True,
    }
    trainer = make_trainer(arguments(**given, per_device_eval_batch_size=4), dataset, eval_dataset=dataset.select([0]))
    trainer.evaluate = lambda *_, **__: {"eval_best": -trainer.state.global_step}  # the first is the best
    trainer.train()
    left = sorted(path.name for path in Path(trainer.args.output_dir).glob("checkpoint-*"))
    assert left == ["checkpoint-1", "checkpoint-3"]
    assert trainer.args.save_total_limit == 1


def test_canary_methods_of_transformers():
    """Where the place in a stream is restored, and where the newest checkpoint is kept."""
    for name in ("_init_training_state", "_finalize_training"):
        assert callable(getattr(Trainer, name))
