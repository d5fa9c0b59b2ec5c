"""Which run a folder belongs to: damaged checkpoints, a fresh run in an old folder, branches."""

import os
import signal
from pathlib import Path

import pytest

from tests.reliability.test_run_folder import child, hold
from tests.trainer.resumed import METHODS, logged, said
from tests.trainer.rig import make_trainer
from trl_entropy.reliability.checkpoints import EARLIER, IncompleteCheckpointError, flaw, run_that_saved
from trl_entropy.reliability.run_folder import FolderInUseError, new_run, owner_of


pytestmark = pytest.mark.slow


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
