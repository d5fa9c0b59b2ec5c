"""Batches with nothing in them: a finite loss and gradient, an honest state."""

import math

import pytest
import torch

from tests.trainer.rig import closings, fixed_batch, make_trainer, select, siren_stands, step_gradient, with_old_logps
from trl_entropy.methods.siren import SirenState


METHODS = {
    "siren": {"siren_coef": 0.5},
    "siren_micro": {"siren_coef": 0.5, "entropy_scope": "micro_batch"},
    "clip_cov": {"clip_cov_ratio": 0.1, "clip_cov_low": 0.05},
    "clip_cov_micro": {"clip_cov_ratio": 0.1, "clip_cov_low": 0.05, "entropy_scope": "micro_batch"},
    "kl_cov": {"kl_cov_ratio": 0.1},
    "kl_cov_micro": {"kl_cov_ratio": 0.1, "entropy_scope": "micro_batch"},
}


def all_masked(batch):
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])


def one_token(batch):
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])
    batch["completion_mask"][2, 0] = 1


def one_token_each(batch):
    batch["completion_mask"] = torch.zeros_like(batch["completion_mask"])
    batch["completion_mask"][:, 0] = 1


def zero_variance(batch):
    batch["advantages"] = torch.zeros_like(batch["advantages"])


def nothing_in_the_band(batch):
    batch["advantages"] = batch["advantages"] * 1e-6


def nan_padding(batch):
    batch["old_per_token_logps"] = torch.where(
        batch["completion_mask"].bool(), batch["old_per_token_logps"], torch.tensor(math.nan)
    )


BATCHES = [all_masked, one_token, one_token_each, zero_variance, nothing_in_the_band, nan_padding]


@pytest.mark.parametrize("spoil", BATCHES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradient_stay_finite(method, spoil, arguments, dataset):
    trainer = make_trainer(arguments(loss_type="dr_grpo", **METHODS[method]), dataset)
    if "siren" in method:
        siren_stands(trainer, 0.5, 0.9)
    batch = with_old_logps(trainer, fixed_batch())
    spoil(batch)
    steps = closings(trainer.methods[0])
    gradient = step_gradient(trainer, select(trainer, batch), 2)
    assert gradient.isfinite().all()
    if spoil is nan_padding:
        clean = make_trainer(arguments(loss_type="dr_grpo", **METHODS[method]), dataset)
        if "siren" in method:
            siren_stands(clean, 0.5, 0.9)
        assert torch.equal(gradient, step_gradient(clean, select(clean, with_old_logps(clean, fixed_batch())), 2))
    if spoil is zero_variance and "clip" in method:
        assert gradient.eq(0).all()
    if spoil in (all_masked, one_token_each) and "siren" in method:
        # no completion has a peak: nothing was measured, so nothing may change
        assert trainer.methods[0].state == SirenState(anchor=0.5, entropy=0.9)
        assert gradient.eq(0).all() or spoil is one_token_each
        assert math.isnan(steps[-1][1]["siren/entropy"])


def test_an_empty_first_generation_leaves_the_anchor_to_the_next(arguments, dataset):
    trainer = make_trainer(arguments(siren_coef=0.5), dataset)
    batch, state = with_old_logps(trainer, fixed_batch()), trainer.methods[0].state
    empty = {**batch, "completion_mask": torch.zeros_like(batch["completion_mask"])}
    step_gradient(trainer, select(trainer, empty), 2)
    assert state.anchor is None
    step_gradient(trainer, select(trainer, batch), 2)
    assert state.anchor and state.anchor == pytest.approx(state.entropy, abs=1e-6)
