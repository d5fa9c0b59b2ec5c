"""The value of KL-Cov's and SIREN's added loss in a micro-batch, by hand: all advantages are 0, so it is the loss."""

import math

import pytest
import torch

from tests.trainer.rig import as_process, fixed_batch, make_trainer, select, siren_stands, step_gradient


COEF, MOVE, RATIO = 0.8, 0.25, 0.5


def kl_cov(arguments, dataset, **given):
    """A trainer and a batch whose tokens have each moved by `MOVE`; all covariances are 0, so the first are chosen."""
    trainer = make_trainer(arguments(kl_cov_ratio=RATIO, kl_cov_coef=COEF, **given), dataset)
    batch = fixed_batch()
    batch["advantages"] = torch.zeros(8)
    batch["old_per_token_logps"] = trainer.score(batch)["logps"] - MOVE
    return trainer, batch


def loss(trainer, batch: dict, accumulation: int = 1) -> float:
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = accumulation
    trainer.state.global_step = 1
    return trainer.compute_loss(trainer.model, batch).item()


@pytest.mark.parametrize(("accumulation", "steps"), [(1, 1), (1, 4), (2, 4), (4, 4)])
@pytest.mark.parametrize("processes", [1, 2])
def test_one_backward_pass_has_its_part_of_the_generations_tokens(processes, accumulation, steps, arguments, dataset):
    """`num_items_in_batch` spans the generation batch of all processes: N / processes / steps_per_generation here."""
    given = {"loss_type": "dapo", "gradient_accumulation_steps": accumulation, "steps_per_generation": steps}
    if accumulation == steps:
        given["num_iterations"] = 2
    trainer, batch = kl_cov(arguments, dataset, **given)
    scored = select(trainer, batch)
    tokens = int(batch["completion_mask"].sum())
    paying = int(RATIO * tokens)
    with as_process(of=processes):
        found = loss(trainer, scored, accumulation)
    assert found == pytest.approx(paying * COEF * MOVE / (tokens / processes / steps) / accumulation, rel=1e-5)


def test_a_generation_without_a_token_is_not_divided_by(arguments, dataset):
    trainer, batch = kl_cov(arguments, dataset, loss_type="dapo")
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])
    batch["num_items_in_batch"] = torch.tensor(0)
    scored = select(trainer, batch)
    assert loss(trainer, scored) == 0.0
    assert step_gradient(trainer, scored, 2).eq(0).all()


@pytest.mark.parametrize("scope", ["batch", "micro_batch"])
def test_the_move_is_from_the_old_policy_and_not_from_the_sampler(scope, arguments, dataset):
    """A sampler's log-probabilities travel with a batch, too."""
    trainer, batch = kl_cov(arguments, dataset, loss_type="dapo", entropy_scope=scope, steps_per_generation=2)
    batch["sampling_per_token_logps"] = batch["old_per_token_logps"] - 3.0
    tokens = int(batch["completion_mask"].sum())
    expected = int(RATIO * tokens) * COEF * MOVE / (tokens / 2)
    assert loss(trainer, select(trainer, batch)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scope", ["batch", "micro_batch"])
def test_siren_asks_nothing_of_a_micro_batch_without_a_peak(scope, arguments, dataset):
    """Not coef * anchor^2 either, which has no gradient and would stand in the log."""
    trainer = make_trainer(arguments(siren_coef=0.5, entropy_scope=scope, loss_type="dr_grpo"), dataset)
    batch = fixed_batch()
    batch["advantages"] = torch.zeros(8)
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])
    batch["completion_mask"][:, 0] = 1  # a single token lies above no quantile of its own
    siren_stands(trainer, 0.9)
    assert loss(trainer, batch) == 0.0


@pytest.mark.parametrize("cleaned", ["ref_per_token_logps", "old_per_token_logps"])
def test_padding_of_another_policys_log_probabilities_is_never_read(cleaned, arguments, dataset, model):
    """Of the reference model's, too: all are where it is, so that the divergence is 0."""
    given = arguments(siren_coef=0.5, loss_type="dr_grpo", beta=0.1)
    batch = fixed_batch()
    trainer = make_trainer(given, dataset, model)
    batch["advantages"] = torch.zeros(8)
    batch["old_per_token_logps"] = batch["ref_per_token_logps"] = trainer.score(batch)["logps"]
    counted = batch["completion_mask"].bool()
    batch[cleaned] = torch.where(counted, batch[cleaned], math.nan)
    siren_stands(trainer, 0.9)
    assert loss(trainer, batch) == pytest.approx(0.0, abs=1e-7)
    assert step_gradient(trainer, batch, 2).isfinite().all()
