"""`train` called again on the same trainer: after a failure, and after an end."""

import pytest

from tests.trainer.rig import Steps, closings, make_trainer
from tests.trainer.test_features import lively_reward
from tests.trainer.test_moves import KL_COV, WAITS_THEN_ACTS
from trl_entropy.reliability.reward_watch import RewardError


pytestmark = pytest.mark.slow


def test_a_failed_train_leaves_nothing_to_the_next(arguments, dataset):
    """The reward fails in the middle of a step; the step that is done again counts its own sequences only."""
    calls = []

    def flaky(completions, **_):
        calls.append(len(completions))
        if len(calls) == 2:
            raise KeyError("the grader is down")
        return [float(i % 2) for i in range(len(completions))]

    given = {"siren_coef": 0.5, "steps_per_generation": 1, "gradient_accumulation_steps": 2, "max_steps": 2}
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=flaky)
    with pytest.raises(RewardError):
        trainer.train()
    steps = closings(trainer.methods[0])
    trainer.train()
    assert [totals["sequences"] for totals, _ in steps] == [8.0, 8.0]


@pytest.mark.parametrize(("length", "second"), [(4, WAITS_THEN_ACTS), (3, [True, False, True])])
def test_it_begins_with_the_rollout_that_the_first_left(length, second, arguments, dataset):
    """TRL's own: its count of batches goes on. From a rollout of the first `train` the policy has moved."""
    given = {**KL_COV, "max_steps": length}
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=lively_reward)
    trainer.train()
    steps = Steps(trainer)
    trainer.train()
    assert steps.numbers == list(range(1, length + 1))
    assert steps.where("penalised") == second


def test_draws_and_the_anchor_go_on_and_a_schedule_begins_anew(arguments, dataset):
    """Three steps each, two on a generation: no draw is used twice, and the anchor is the first policy's."""
    given = {"siren_coef": 0.5, "random_clip_ratio": 0.2, "schedule_shape": "linear", "max_steps": 3}
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=lively_reward)
    siren, state, gains = trainer.methods[-1], trainer._entropy_state, []
    loss = siren.loss
    siren.loss = lambda micro: gains.append(siren.gain) or loss(micro)
    trainer.train()
    anchor = siren.state.anchor
    assert state.draws == 2
    trainer.train()
    assert siren.state.anchor == anchor
    assert trainer._entropy_state.draws == 3  # the second has one generation of its own
    assert gains == pytest.approx([1.0, 2 / 3, 1 / 3] * 2)


def test_a_run_that_the_guard_has_stopped_goes_on(arguments, dataset):
    """Entropy stays above a bound of 0 nats until the bound is moved."""
    given = {"entropy_guard": "stop", "entropy_guard_high": 1e-9, "max_steps": 3}
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=lively_reward)
    trainer.train()
    assert trainer.state.global_step == 1
    trainer.args.entropy_guard_high = 100.0
    trainer.train()
    assert trainer.state.global_step == 3
