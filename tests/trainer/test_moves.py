"""When the policy has moved since its completions were generated: KL-Cov waits for it, and then acts."""

import pytest
import torch

from tests.trainer.rig import Steps, make_trainer
from tests.trainer.test_features import lively_reward
from trl_entropy.methods import Method


KL_COV = {"kl_cov_ratio": 0.2, "max_steps": 4}  # two optimizer steps on each generation
WAITS_THEN_ACTS = [False, True, False, True]


class Generations(Method):
    """Counts the generations that methods are shown."""

    key, name, summary = "generations", "Generations", ("nothing", "in tests", "none")
    count = 0

    def generated(self, view, scope):
        self.count += 1


def test_it_acts_from_the_second_step_of_each_rollout(arguments, dataset):
    trainer = make_trainer(arguments(**KL_COV), dataset, reward_funcs=lively_reward)
    steps = Steps(trainer)
    trainer.train()
    assert steps.numbers == [1, 2, 3, 4]
    assert steps.where("penalised") == WAITS_THEN_ACTS


def test_a_generation_of_an_evaluation_is_none_of_training(arguments, dataset):
    """An evaluation lies between the two steps of each rollout."""
    given = arguments(
        **KL_COV, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=4, num_generations_eval=4
    )
    seen = Generations()
    trainer = make_trainer(
        given, dataset, reward_funcs=lively_reward, eval_dataset=dataset.select([0]), methods=[seen]
    )
    steps = Steps(trainer)
    trainer.train()
    assert len([row for row in trainer.state.log_history if "eval_loss" in row]) == 4
    assert steps.where("penalised") == WAITS_THEN_ACTS
    assert seen.count == 2


@pytest.mark.parametrize(("skipped", "acts"), [(1, [False, False, True, True]), (2, [False, True, True, True])])
def test_an_update_that_is_left_out_moves_nothing(skipped, acts, arguments, dataset):
    """Four steps on one rollout."""
    trainer = make_trainer(arguments(**KL_COV, num_iterations=2), dataset, reward_funcs=lively_reward)
    steps, backward = Steps(trainer), []

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        backward.append(1)
        return gradient * torch.nan if len(backward) == skipped else gradient

    trainer.model.model.norm.weight.register_hook(spoil)
    trainer.train()
    assert trainer.state.log_history[skipped - 1]["faults/skipped_updates"] == 1
    assert steps.where("penalised") == acts


def test_a_learning_rate_of_zero_moves_nothing(arguments, dataset):
    """The first step of a warm-up."""
    given = arguments(**KL_COV, warmup_steps=3)
    given["lr_scheduler_type"] = "constant_with_warmup"
    trainer = make_trainer(given, dataset, reward_funcs=lively_reward)
    steps = Steps(trainer)
    trainer.train()
    assert steps.where("penalised") == [False, False, False, True]
