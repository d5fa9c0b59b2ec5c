"""Images and groups in the trackers."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from trl import GRPOConfig, GRPOTrainer

from trl_entropy.callbacks.pictures import PictureCallback, draw_pictures
from trl_entropy.runlog import read_run

from ..conftest import tiny_model, tiny_tokenizer, vowel_reward


HISTORY = [{"step": i, "entropy": 1 - i / 20, "reward": i / 20} for i in range(1, 11)]


def test_images_are_drawn_of_what_was_logged(tmp_path):
    images = draw_pictures([*HISTORY, {"train_loss": 0.0}], "siren", tmp_path)
    assert list(images) == ["entropy", "reward", "law"]
    for image in images.values():
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert len(np.unique(image)) > 20  # something is on it
    assert list(draw_pictures([{"step": 1, "reward": 1.0}], "plain", tmp_path)) == ["reward"]


def test_what_the_law_cannot_fit_is_left_out_of_the_figures(tmp_path):
    still = [{"step": i, "entropy": 1 - i / 20, "reward": 0.7} for i in range(1, 11)]
    assert "law" in draw_pictures(still, "plain", tmp_path)  # the points, and "no fit"
    wide = [{"step": i, "entropy": 30.0 + i, "reward": i / 20} for i in range(1, 11)]
    assert list(draw_pictures(wide, "plain", tmp_path)) == ["entropy", "reward"]


def test_tensorboard_gets_the_metrics_in_groups_and_the_figures_as_images(arguments, dataset, tmp_path):
    pytest.importorskip("tensorboard", reason="the tensorboard package is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    args = GRPOConfig(**arguments(report_to="tensorboard", max_steps=5))
    trainer = GRPOTrainer(tiny_model(), vowel_reward, args, train_dataset=dataset, processing_class=tiny_tokenizer())
    trainer.add_callback(PictureCallback(trainer, every=4))

    def log(self, *rest, **kwargs):  # what an entropy method logs
        self._metrics["train"]["siren/entropy"].append(0.5)
        return GRPOTrainer.log(self, *rest, **kwargs)

    trainer.log = log.__get__(trainer)
    trainer.train()
    (folder,) = {path.parent for path in (tmp_path / "run").rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    assert {"train/entropy", "train/siren/entropy", "train/reward"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"figures/entropy", "figures/reward", "figures/law"}
    assert [image.step for image in events.Images("figures/law")] == [4, 5]
    assert read_run(tmp_path / "run").metrics["siren/entropy"].values == [0.5] * 5


def test_wandb_and_trackio_get_images_under_their_step(monkeypatch, tmp_path):
    sent = []
    for name in ("wandb", "trackio"):
        fake = SimpleNamespace(
            Image=lambda image, name=name: (name, image.shape[2]),
            log=lambda figures, step=None: sent.append((figures, step)),
        )
        monkeypatch.setitem(sys.modules, name, fake)
    callback = PictureCallback(SimpleNamespace(callback_handler=SimpleNamespace(callbacks=[])))
    args = SimpleNamespace(report_to=["wandb", "trackio"], output_dir=str(tmp_path))
    state = SimpleNamespace(global_step=10, max_steps=10, is_world_process_zero=True, log_history=HISTORY)
    callback.on_log(args, state, None)
    callback.on_log(args, state, None)  # the log of the end of training, at the same step
    assert sent[:2] == [
        ({"figures/entropy": ("wandb", 3), "train/global_step": 10}, None),
        ({"figures/entropy": ("trackio", 3)}, 10),
    ]
    assert len(sent) == 6


def test_a_cadence_below_one_is_refused():
    with pytest.raises(ValueError, match="every is 0"):
        PictureCallback(None, every=0)
