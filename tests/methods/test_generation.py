"""What a method is shown of a generation: TRL's rewards and advantages by prompt, and log-probabilities."""

import pytest
import torch

from tests.conftest import vowel_reward
from tests.trainer.rig import make_trainer
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.advantages import group_relative
from trl_entropy.methods import METHODS, Group, Method, overrides


class Onlooker(Method):
    key, name, summary = "onlooker", "Onlooker", ("nothing", "in tests", "none")

    def __init__(self):
        self.groups: list[Group] = []

    def needs(self):
        return frozenset({"logps"})

    def group_advantages(self, group):
        self.groups.append(Group(**vars(group)))
        return group.advantages


def every_third_unknown(completions, **_) -> list[float | None]:
    return [None if i % 3 == 0 else r for i, r in enumerate(vowel_reward(completions))]


def generated(arguments, dataset, reward, **given) -> tuple[Group, dict]:
    onlooker = Onlooker()
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=reward, methods=[onlooker])
    trainer.model.train()
    batch = trainer._generate_and_score_completions([{"prompt": p} for p in ["a b"] * 4 + ["f g"] * 4])
    scored = trainer.score(batch)["logps"]
    return onlooker.groups[0], {**batch, "logps": scored}


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("reward", [vowel_reward, every_third_unknown])
def test_our_group_relative_advantage_is_trls(reward, scale, arguments, dataset):
    """What replaces TRL's advantage starts from the same normalisation."""
    group, _ = generated(arguments, dataset, reward, scale_rewards=scale)
    assert group.rewards.shape == (2, 4)
    assert group.rewards.isnan().sum() == (3 if reward is every_third_unknown else 0)
    assert group.advantages.abs().max() > 0.1
    torch.testing.assert_close(group_relative(group.rewards, scale), group.advantages, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("iterations", [1, 2])
def test_log_probabilities_are_the_generating_policys(iterations, arguments, dataset):
    """Summed over the tokens that count, and their number: on-policy from a pass of its own."""
    group, batch = generated(
        arguments,
        dataset,
        vowel_reward,
        num_iterations=iterations,
        steps_per_generation=1,
        gradient_accumulation_steps=1,
    )
    mask = batch["completion_mask"]
    assert group.lengths.flatten().tolist() == mask.sum(1).tolist()
    expected = torch.stack([row[: int(n)].sum() for row, n in zip(batch["logps"], mask.sum(1), strict=True)])
    torch.testing.assert_close(group.logps.flatten(), expected)
    torch.testing.assert_close(group.mean_logps.flatten(), expected / mask.sum(1))


@pytest.mark.parametrize(
    "method", [m for m in METHODS if overrides(m, "group_advantages")], ids=lambda method: method.key
)
def test_what_replaces_the_advantages_ignores_the_given_ones(method, arguments):
    """Two that do would undo each other, so they are refused together; the others build on what they are given."""
    given = {"pass_at_k": {"pass_at_k": 2}}.get(method.key, method.example)  # all of it, not a mixture
    it = method().attach(EntropyGRPOConfig(**arguments(**given)))
    rewards, logps = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[-1.0, -2.0, -3.0, -4.0]])
    one, other = (
        it.group_advantages(Group(rewards, advantages, logps, torch.ones(1, 4)))
        for advantages in (torch.tensor([[1.0, -1.0, 1.0, -1.0]]), torch.tensor([[3.0, -3.0, 2.0, -2.0]]))
    )
    assert torch.equal(one, other) == it.replaces(it.args)
    assert method.replaces_advantage <= it.replaces(it.args)
