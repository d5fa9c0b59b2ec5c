"""Which checkpoints are kept, and that no failure beside the training costs one."""

from pathlib import Path

import pytest
import torch
from transformers import Trainer
from trl import GRPOTrainer

from tests.trainer.resumed import METHODS, SAVING, said
from tests.trainer.rig import make_trainer
from trl_entropy.reliability.checkpoints import flaw


pytestmark = pytest.mark.slow


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
