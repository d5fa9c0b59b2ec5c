"""What is kept beside training never ends it: a full disk is one warning a file, and the weights are the same."""

import logging
import pathlib

import pytest
import torch
from trl import GRPOTrainer

from tests.trainer.rig import make_trainer
from trl_entropy.callbacks import pictures
from trl_entropy.callbacks.pictures import PictureCallback
from trl_entropy.reliability.beside_training import beside_training, tell_again
from trl_entropy.reliability.checkpoints import flaw


OBSERVED = {
    "siren_coef": 0.5, "log_token_map": 2, "log_token_map_steps": 1, "log_entropy_dynamics": True,
    "log_entropy_dynamics_steps": 1,
}  # fmt: skip


def full(*_, **__):
    raise OSError(28, "No space left on device")


def warnings(caplog) -> list[str]:
    return [record.getMessage().split(" could")[0] for record in caplog.records if "could not be wr" in record.message]


def test_a_warning_is_given_once_a_run(caplog):
    tell_again()
    for _ in range(2):
        with beside_training("metrics.jsonl"):
            full()
        with beside_training("the model card"):
            raise ValueError("half")
    assert warnings(caplog) == ["metrics.jsonl", "the model card"]
    assert "No space left on device" in caplog.text
    assert "ValueError: half" in caplog.text
    tell_again()
    with beside_training("metrics.jsonl"):
        full()
    assert warnings(caplog)[2:] == ["metrics.jsonl"]


def test_an_interrupt_is_no_failure():
    with pytest.raises(KeyboardInterrupt), beside_training("metrics.jsonl"):
        raise KeyboardInterrupt


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def test_a_full_disk_ends_no_run(arguments, dataset, tmp_path, monkeypatch, caplog):
    sound = make_trainer(arguments(output_dir=str(tmp_path / "sound"), **OBSERVED), dataset)
    sound.train()
    assert not warnings(caplog)
    trainer = make_trainer(arguments(**OBSERVED), dataset)
    trainer.add_callback(PictureCallback(trainer, every=1))
    opened = pathlib.Path.open
    monkeypatch.setattr(
        pathlib.Path,
        "open",
        lambda path, mode="r", *rest, **more: full() if "a" in mode else opened(path, mode, *rest, **more),
    )
    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr(pictures, "draw_pictures", full)
    trainer.train()
    assert trainer.state.global_step == 3
    assert torch.equal(weights(trainer), weights(sound))
    assert sorted(warnings(caplog)) == [
        "_run_owner.json", "a picture for the trackers", "entropy_dynamics.jsonl", "metrics.jsonl", "settings.json",
        "token_map.jsonl",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written_to_ends_no_run(arguments, dataset, tmp_path, caplog):
    trainer = make_trainer(arguments(**OBSERVED), dataset)
    (tmp_path / "a file").write_text("")
    trainer.args.output_dir = str(tmp_path / "a file" / "run")
    trainer.train()
    assert trainer.state.global_step == 3
    assert "metrics.jsonl" in warnings(caplog)
    assert "cannot be locked" in caplog.text


def test_a_card_that_cannot_be_written_loses_no_checkpoint(arguments, dataset, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(GRPOTrainer, "create_model_card", full)
    trainer = make_trainer(arguments(max_steps=2, save_strategy="steps", save_steps=1, siren_coef=0.5), dataset)
    trainer.train()
    assert flaw(f"{trainer.args.output_dir}/checkpoint-2") is None
    assert warnings(caplog) == ["the model card"]
