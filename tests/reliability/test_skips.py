"""Updates that are left out: found for any dtype, and counted when DeepSpeed leaves them out itself."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType

from tests.conftest import tiny_model
from tests.trainer.rig import make_trainer
from trl_entropy.reliability.faults import (
    SKIPS_IN_A_ROW,
    FaultTolerance,
    NonFiniteError,
    SkipNonFiniteUpdates,
    finite_gradients,
)


OPTIMIZER = SimpleNamespace(param_groups=[{"lr": 1e-6}])


class UnderDeepSpeed(FaultTolerance):
    """As much of a trainer as the callback sees, around an engine that says what it did."""

    def __init__(self, norm: float, applied: bool):
        self.accelerator = SimpleNamespace(distributed_type=DistributedType.DEEPSPEED, scaler=None)
        self.model_wrapped = SimpleNamespace(get_global_grad_norm=lambda: norm, was_step_applied=lambda: applied)
        self.state = SimpleNamespace(global_step=7)
        self._generated_at = 7
        self._entropy_state = SimpleNamespace(skipped_updates=0)
        self._metrics = {"train": defaultdict(list)}


def step(trainer: UnderDeepSpeed, callback: SkipNonFiniteUpdates) -> None:
    callback.on_pre_optimizer_step(None, trainer.state, None, model=None, optimizer=OPTIMIZER)
    callback.on_optimizer_step(None, trainer.state, None)


def test_what_deepspeed_skips_is_counted_and_the_policy_stays():
    trainer = UnderDeepSpeed(float("inf"), applied=False)
    callback = SkipNonFiniteUpdates(trainer)
    step(trainer, callback)
    assert trainer._metrics["train"]["faults/skipped_updates"] == [1]
    assert trainer._generated_at == 8  # so that KL-Cov waits
    for _ in range(SKIPS_IN_A_ROW - 2):
        step(trainer, callback)
    with pytest.raises(NonFiniteError, match="20 optimizer steps in a row"):
        step(trainer, callback)


@pytest.mark.parametrize("norm", [float("nan"), float("inf"), -1.0])
def test_an_update_that_deepspeed_applied_all_the_same_is_an_error(norm):
    trainer = UnderDeepSpeed(norm, applied=True)
    with pytest.raises(NonFiniteError, match="has already applied it"):
        step(trainer, SkipNonFiniteUpdates(trainer))


def test_a_sound_deepspeed_step_ends_the_row():
    trainer = UnderDeepSpeed(0.5, applied=True)
    callback = SkipNonFiniteUpdates(trainer)
    callback.in_a_row = 5
    step(trainer, callback)
    assert callback.in_a_row == 0
    assert trainer._generated_at == 7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_of_every_dtype(dtype):
    layer = torch.nn.Linear(300, 300).to(dtype)
    other = torch.nn.Linear(2, 2)  # of another dtype beside it
    model = torch.nn.ModuleList([layer, other])
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)  # in float16 their sum would overflow
    assert finite_gradients(model)
    layer.weight.grad[3, 4] = torch.inf
    assert not finite_gradients(model)
    layer.weight.grad[3, 4] = torch.nan
    assert not finite_gradients(model)


def test_a_float64_model_trains(arguments, dataset):
    trainer = make_trainer(arguments(max_steps=1), dataset, tiny_model().double())
    trainer.train()
    assert trainer.state.global_step == 1


def test_skipped_updates_are_counted_whatever_the_logging_cadence(arguments, dataset):
    trainer = make_trainer(arguments(siren_coef=0.5, max_steps=4, logging_steps=4), dataset)
    for _ in range(3):
        trainer.count_skipped_update()
    trainer.train()
    assert trainer.state.log_history[0]["faults/skipped_updates"] == 3
