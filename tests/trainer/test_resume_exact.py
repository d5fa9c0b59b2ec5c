"""A resumed run is the uninterrupted one, as if nothing had happened; where it cannot be, that is said."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from datasets import Dataset, IterableDataset

from tests.trainer.resumed import METHODS, PROMPTS, in_memory, said, weights
from tests.trainer.rig import make_trainer
from trl_entropy.reliability.checkpoints import SEAL


pytestmark = pytest.mark.slow


def stream():
    return IterableDataset.from_generator(lambda: ({"prompt": prompt} for prompt in PROMPTS))


def figures(trainer) -> list[dict]:
    times = ("step_time", "train_", "sampling/")
    return [
        {key: value for key, value in row.items() if not key.startswith(times)}
        for row in trainer.state.log_history
        if "loss" in row
    ]


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
