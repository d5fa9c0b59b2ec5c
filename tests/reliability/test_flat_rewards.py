"""The warning of rewards that teach nothing: when it comes, once, and which reasons it names first."""

import logging
import re

import pytest
import torch

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.reliability.flat_rewards import ROLLOUTS, FlatRewards


NONE = float("nan")


def warnings_of(rollouts: list[list[list[float]]]) -> list[str | None]:
    watch = FlatRewards()
    return [watch.see(torch.tensor(rollout)) for rollout in rollouts]


def test_it_comes_once_after_five_in_a_row():
    found = warnings_of([[[0.0, 0.0], [0.0, 0.0]]] * 12)
    assert [i for i, warning in enumerate(found, 1) if warning] == [ROLLOUTS] == [5]


def test_one_prompt_whose_rewards_differ_begins_the_count_anew():
    flat, taught = [[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]
    found = warnings_of([flat] * 4 + [taught] + [flat] * 5)
    assert [i for i, warning in enumerate(found, 1) if warning] == [10]


def test_a_completion_without_a_reward_has_no_spread():
    assert warnings_of([[[NONE, 1.0, 1.0]]] * 5)[-1]
    assert warnings_of([[[NONE, NONE, NONE]]] * 5)[-1]
    assert not warnings_of([[[NONE, 1.0, 0.0]]] * 5)[-1]


@pytest.mark.parametrize(
    ("rollout", "order"),
    [
        ([[0.0, 0.0]], ["too hard", "format", "too easy"]),
        ([[-1.0, -1.0]], ["too hard", "format", "too easy"]),
        ([[1.0, 1.0]], ["too easy", "too hard", "format"]),
        ([[0.0, 0.0], [1.0, 1.0]], ["too easy", "too hard"]),
        ([[NONE, NONE]], []),
    ],
)
def test_the_likely_reason_stands_first(rollout, order):
    [*_, warning] = warnings_of([rollout] * 5)
    assert re.findall("too hard|too easy|format", warning) == order


@pytest.mark.parametrize("reward", [1.0, None])
def test_a_run_says_it_once(model, dataset, arguments, caplog, reward):
    """Six rollouts of two steps each; a second reward that differs but weighs nothing teaches nothing."""

    def same(completions, **_):
        return [reward] * len(completions)

    def idle(completions, **_):
        return [float(i) for i, _ in enumerate(completions)]

    rewards = {"reward_funcs": [same, idle] if reward else same}
    args = EntropyGRPOConfig(**arguments(max_steps=12), reward_weights=[1.0, 0.0] if reward else None)
    trainer = EntropyGRPOTrainer(model, args=args, train_dataset=dataset, **rewards)
    with caplog.at_level(logging.WARNING, "trl_entropy.reliability.faults"):
        trainer.train()
    said = [record for record in caplog.records if "in a row" in record.getMessage()]
    assert len(said) == 1
