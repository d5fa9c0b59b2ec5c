"""What the scoring forward is given: all that TRL's own takes, pictures included."""

import inspect
from unittest import mock

import torch
from trl import GRPOTrainer

from tests.trainer.rig import fixed_batch, make_trainer
from trl_entropy.step.batch import FORWARD_KEYS


OF_THE_CALL = {
    "self",
    "model",
    "input_ids",
    "attention_mask",
    "logits_to_keep",
    "batch_size",
    "compute_entropy",
    "compute_aux_loss",
}


def test_the_keys_are_those_of_trls_forward():
    parameters = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    assert set(FORWARD_KEYS) == set(parameters) - OF_THE_CALL


def test_what_a_batch_has_of_them_is_handed_on(arguments, dataset):
    trainer = make_trainer(arguments(), dataset)
    seen = {"pixel_values": torch.rand(8, 3), "image_grid_thw": torch.ones(8, 3), "num_images": [1] * 8}
    batch = {**fixed_batch(), **seen, "reward": "not for the model"}
    shape = batch["completion_ids"].shape
    told = {}

    def forward(self, model, ids, attention, keep, **kwargs):
        told.update(kwargs, ids=ids, attention=attention, keep=keep)
        return torch.zeros(shape), torch.zeros(shape), None

    with mock.patch.object(GRPOTrainer, "_get_per_token_logps_and_entropies", forward):
        trainer.score(batch)
    assert {name: told[name] for name in seen} == seen
    assert set(told) == {*seen, "ids", "attention", "keep", "batch_size", "compute_entropy"}
    assert torch.equal(told["ids"], torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1))
    assert torch.equal(told["attention"], torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1))
    assert (told["keep"], told["batch_size"], told["compute_entropy"]) == (shape[1], 4, True)
