"""Which tokens a selection in micro-batch scope is told PPO's clip has silenced: by hand, for every loss."""

import pytest
import torch

from tests.trainer.rig import Steps, fixed_batch, make_trainer, step_gradient
from trl_entropy.methods import Method


RATIOS = torch.tensor([0.7, 0.9, 1.3, 1.45, 1.6, 1.0, 1.0])
UNTOUCHED = [False] * 5  # of the first five


class Seen(Method):
    """Keeps what a selection may look at."""

    key, name, summary = "seen", "Seen", ("nothing", "in tests", "none")

    def select(self, view, scope):
        assert view.clipped is not None
        self.clipped = view.clipped
        return {}


def clipped(arguments, dataset, **given) -> list[list[bool]]:
    """Of a token of each ratio, once with a positive and once with a negative advantage."""
    seen = Seen()
    trainer = make_trainer(arguments(entropy_scope="micro_batch", **given), dataset, methods=[seen])
    batch = fixed_batch(sequences=2)
    batch["completion_mask"] = torch.ones_like(batch["completion_mask"])
    batch["advantages"] = torch.tensor([1.0, -1.0])
    batch["old_per_token_logps"] = trainer.score(batch)["logps"] - RATIOS.log()
    step_gradient(trainer, batch, 1)
    return seen.clipped[:, :5].tolist()


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "luspo"])
def test_both_ends_of_the_clip_are_told_apart(loss_type, arguments, dataset):
    """epsilon 0.2 below, 0.4 above."""
    found = clipped(arguments, dataset, loss_type=loss_type, epsilon=0.2, epsilon_high=0.4)
    assert found == [[False, False, False, True, True], [True, False, False, False, False]]


@pytest.mark.parametrize("loss_type", ["cispo", "sapo", "vespo"])
def test_a_loss_without_the_clip_silences_no_token(loss_type, arguments, dataset):
    assert clipped(arguments, dataset, loss_type=loss_type, epsilon_high=0.4) == [UNTOUCHED, UNTOUCHED]


def test_delta_bounds_the_negative_side_from_above(arguments, dataset):
    found = clipped(arguments, dataset, loss_type="grpo", epsilon=0.2, epsilon_high=0.4, delta=1.5)
    assert found == [[False, False, False, True, True], [True, False, False, False, True]]


def test_clip_cov_chooses_among_the_others_only(arguments, dataset):
    """Every ratio e, delta 1.5: where advantages are negative nothing has a gradient, and none is left to choose."""
    given = {"clip_cov_ratio": 0.9, "clip_cov_low": -1e9, "clip_cov_high": 1e9, "entropy_scope": "micro_batch"}
    chosen = []
    for advantage in (-1.0, 0.0):
        trainer = make_trainer(arguments(**given, delta=1.5), dataset)
        batch = fixed_batch()
        batch["old_per_token_logps"] = trainer.score(batch)["logps"] - 1.0
        batch["advantages"] = torch.full((8,), advantage)
        steps = Steps(trainer)
        step_gradient(trainer, batch, 1)
        chosen.append(int(steps.micros[0].chosen["clip_cov"]["selected"].sum()))
    tokens = int(batch["completion_mask"].sum())
    assert chosen == [0, int(0.9 * tokens)]
