"""With every method off the trainer is GRPOTrainer: weights and every logged figure, bit for bit."""

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from tests.trainer.rig import make_trainer
from trl_entropy import metrics


TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "step_time")


def trained(given: dict, dataset, **kwargs):
    # one after the other: each construction seeds the generation, so a second one would restart it
    trainer = make_trainer(given, dataset, **kwargs)
    trainer.train()
    return trainer


def figures(trainer) -> list[dict]:
    ours = {metric.key for metric in metrics.MASS_TABLE}  # logged by every run of ours
    return [{k: v for k, v in row.items() if k not in TIMES and k not in ours} for row in trainer.state.log_history]


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "bnpo", "cispo"])
def test_off_equals_grpo_bit_for_bit(loss_type, arguments, dataset):
    extra = {"epsilon_high": 5.0} if loss_type == "cispo" else {}
    given = arguments(loss_type=loss_type, gradient_accumulation_steps=2, steps_per_generation=4, max_steps=4, **extra)
    ours = trained(given, dataset)
    theirs = trained(given, dataset, cls=GRPOTrainer, config=GRPOConfig)
    assert figures(ours) == figures(theirs)
    assert len(figures(ours)) == 5
    for (name, mine), other in zip(ours.model.state_dict().items(), theirs.model.state_dict().values(), strict=True):
        assert torch.equal(mine, other), name


def test_logging_details_changes_no_weight(arguments, dataset):
    ours = trained(arguments(log_entropy_details=True), dataset)
    theirs = trained(arguments(), dataset, cls=GRPOTrainer, config=GRPOConfig)
    assert "entropy/q50" in ours.state.log_history[0]
    for mine, other in zip(ours.model.state_dict().values(), theirs.model.state_dict().values(), strict=True):
        assert torch.equal(mine, other)
