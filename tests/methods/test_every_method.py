"""What must hold for every method: each runs with its own `example`, and nothing here names one."""

import math
from dataclasses import asdict

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from tests.trainer.rig import fixed_batch, make_trainer, select, siren_stands, step_gradient, with_old_logps
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.methods import CONTROLLERS, METHODS, Method, argument
from trl_entropy.methods.base import defaults
from trl_entropy.methods.described import excluded


EACH = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
SCOPES = pytest.mark.parametrize("scope", ["batch", pytest.param("micro_batch", marks=pytest.mark.slow)])


def binary_reward(completion_ids, **_) -> list[float]:
    """Right or wrong, and nearly every group holds both."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def trainer_of(method, arguments, dataset, **given):
    trainer = make_trainer(arguments(**{**method.example, **given}), dataset, reward_funcs=binary_reward)
    if method.key == "siren":
        siren_stands(trainer, 0.9, 1.3, 0.75)  # it acts from the second step on
    return trainer


def gradient(method, arguments, dataset, batch, accumulation=2, **given) -> torch.Tensor:
    trainer = trainer_of(method, arguments, dataset, **given)
    return step_gradient(trainer, select(trainer, batch), accumulation)


@pytest.fixture
def batch(arguments, dataset) -> dict:
    return with_old_logps(make_trainer(arguments(), dataset), fixed_batch(empty=3))


@EACH
def test_it_changes_the_gradient(method, arguments, dataset, batch):
    plain = make_trainer(arguments(), dataset)
    stateful = {"pos_reweight", "entrocraft"}  # they act on what the step before measured
    found = gradient(method, arguments, dataset, batch)
    same = torch.allclose(found, step_gradient(plain, batch, 2), atol=1e-5)
    assert same == (method.key in stateful)


@EACH
@pytest.mark.parametrize(
    ("loss_type", "splits"),
    [("dapo", (1, 4)), *(pytest.param(kind, (1, 2, 4, 8), marks=pytest.mark.slow) for kind in ("dr_grpo", "grpo"))],
)
def test_batch_scope_does_not_depend_on_the_split(method, loss_type, splits, arguments, dataset, batch):
    found = [gradient(method, arguments, dataset, batch, n, loss_type=loss_type) for n in splits]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-5, rtol=1e-4)


@EACH
@SCOPES
def test_padding_is_never_read(method, scope, arguments, dataset, batch):
    """NaN in the log-probabilities of padding, another word under it: nothing changes."""
    counted = batch["completion_mask"].bool()
    poisoned = {
        **batch,
        "old_per_token_logps": torch.where(counted, batch["old_per_token_logps"], math.nan),
        "completion_ids": torch.where(counted, batch["completion_ids"], 7),
    }
    clean = gradient(method, arguments, dataset, batch, entropy_scope=scope)
    found = gradient(method, arguments, dataset, poisoned, entropy_scope=scope)
    torch.testing.assert_close(found, clean, atol=1e-6, rtol=1e-5)


def no_token(batch):
    return {**batch, "completion_mask": torch.zeros_like(batch["completion_mask"])}


def one_token(batch):
    mask = torch.zeros_like(batch["completion_mask"])
    mask[0, 0] = 1
    return {**batch, "completion_mask": mask}


def no_advantage(batch):
    return {**batch, "advantages": torch.zeros_like(batch["advantages"])}


@EACH
@SCOPES
@pytest.mark.parametrize("spoil", [no_token, one_token, no_advantage], ids=lambda f: f.__name__)
def test_a_batch_with_nothing_in_it(method, scope, spoil, arguments, dataset, batch):
    found = gradient(method, arguments, dataset, spoil(batch), entropy_scope=scope)
    assert found.isfinite().all()
    if spoil is no_token:
        assert found.eq(0).all()


@pytest.mark.slow
@EACH
@SCOPES
def test_it_trains_and_a_resumed_run_is_the_uninterrupted_one(method, scope, arguments, dataset, tmp_path):
    given = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "entropy_scope": scope}

    def run(name: str, **more):
        out = str(tmp_path / name)
        return make_trainer(
            arguments(**{**method.example, **given, "output_dir": out, **more}), dataset, reward_funcs=binary_reward
        )

    whole = run("whole")  # a construction seeds the generation: one trainer after the other
    whole.train()
    run("first", max_steps=2).train()
    resumed = run("first")
    resumed.train(resume_from_checkpoint=True)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    assert asdict(whole.methods[0].state) == asdict(resumed.methods[0].state)
    assert all(math.isfinite(row["loss"]) for row in whole.state.log_history if "loss" in row)


@EACH
def test_what_it_declares(method):
    """What it publishes are arguments, what it logs bears its name, and it says what it does, when, at what cost."""
    names = set(defaults(EntropyGRPOConfig))
    assert method.switch in defaults(method.Arguments)
    assert len(method.summary) == 3 and all(method.summary)
    assert set(method.published) | set(method.authors_code) | set(method.example) <= names
    for metric in method.metrics:
        assert metric.key.startswith((f"{method.key}/", "cov/")) and metric.unit and metric.formula
    if method.coefficient:
        assert method.coefficient in defaults(method.Arguments)


@EACH
def test_arguments_without_their_switch_are_refused(method, arguments):
    others = {name: value for name, value in method.example.items() if name != method.switch}
    for name, value in others.items():
        if name in defaults(method.Arguments) and value != defaults(method.Arguments)[name]:
            with pytest.raises(ValueError, match=rf"{name}=.* was given but"):
                EntropyGRPOConfig(**arguments(**{name: value}))


@pytest.mark.parametrize("method", [m for m in METHODS if m.per_token], ids=lambda method: method.key)
def test_token_weights_are_refused_with_one_ratio_a_sequence(method, arguments):
    with pytest.raises(ValueError, match="importance_sampling_level"):
        EntropyGRPOConfig(**arguments(importance_sampling_level="sequence", **method.example))


def test_what_excludes_each_other_is_refused_and_everything_else_trains(arguments, dataset):
    for i, first in enumerate(METHODS):
        for second in METHODS[i + 1 :]:
            given = arguments(**{**first.example, **second.example}, max_steps=1)
            if excluded(first, second):
                with pytest.raises(ValueError, match="were both given"):
                    EntropyGRPOConfig(**given)
            else:
                assert set(EntropyGRPOConfig(**given).entropy_methods) == {first.name, second.name}


def test_all_that_combine_train_together(arguments, dataset):
    on: list[type[Method]] = []
    for method in METHODS:
        if not any(excluded(method, other) for other in on):
            on.append(method)
    given = {name: value for method in on for name, value in method.example.items()}
    trainer = make_trainer(arguments(**given), dataset, reward_funcs=binary_reward)
    trainer.train()
    assert [method.key for method in trainer.methods] == [method.key for method in on]
    assert all(math.isfinite(row["loss"]) for row in trainer.state.log_history if "loss" in row)


@EACH
@SCOPES
def test_equal_rewards_move_nothing_but_what_pushes_entropy(method, scope, arguments, dataset):
    """All rewards equal and plain SGD: a method that only weighs or selects advantages leaves the weights alone."""
    trainer = make_trainer(
        arguments(
            **{
                **method.example,
                "entropy_scope": scope,
                "num_iterations": 2,
                "optim": "sgd",
                "max_steps": 2,
                "steps_per_generation": 1,
            }
        ),
        dataset,
        reward_funcs=lambda completions, **_: [1.0] * len(completions),
    )
    before = weights(trainer)
    trainer.train()
    if method.key == "siren":  # it holds the entropy of the first rollout, which is measured to rounding
        torch.testing.assert_close(before, weights(trainer), atol=1e-6 if scope == "batch" else 1e-2, rtol=0)
    else:  # an unlikeliness reward differs where the rewards do not; a bonus needs none
        assert torch.equal(before, weights(trainer)) == (method.key not in ("unlikeliness", "aent"))


def weights(trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])


@pytest.mark.parametrize("accumulation", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))])
@pytest.mark.parametrize(
    "other", [m for m in METHODS if m.key not in ("siren", "unlikeliness", "aent")], ids=lambda method: method.key
)
def test_no_method_beside_the_head_penalises_rounding(other, accumulation, arguments, dataset):
    """SIREN on, far above its floor, so that it pushes nothing: what the policy has not moved must not be punished.

    The old log-probabilities come from the head that the loss uses; with two different heads `|logp - old|` is
    rounding, of slope 1.
    """
    trainer = make_trainer(
        arguments(
            **{
                **other.example,
                "siren_coef": 5.0,
                "siren_penalty": "lower",
                "siren_anchor": 1e-9,
                "num_iterations": 2,
                "per_device_train_batch_size": 8 // accumulation,
                "gradient_accumulation_steps": accumulation,
                "steps_per_generation": accumulation,
                "optim": "sgd",
                "max_steps": 2,
            }
        ),
        dataset,
        reward_funcs=lambda completions, **_: [1.0] * len(completions),
    )
    trainer.train()
    assert [row["grad_norm"] for row in trainer.state.log_history if "grad_norm" in row] == [0.0, 0.0]


class Halved(Method):
    """A user's own method: every advantage is halved."""

    key, name, summary = "halved", "Halved", ("halves advantages", "in tests", "none")

    def __init__(self, factor: float):
        self.factor = factor

    def shape(self, advantages, micro):
        return self.factor * advantages


def test_a_users_own_method(arguments, dataset, batch):
    plain = make_trainer(arguments(), dataset)
    own = make_trainer(arguments(), dataset, methods=[Halved(0.5)])
    expected = step_gradient(plain, batch, 2) / 2
    torch.testing.assert_close(step_gradient(own, select(own, batch), 2), expected, atol=1e-7, rtol=1e-5)
    with pytest.raises(ValueError, match="each may be given once"):
        make_trainer(arguments(), dataset, methods=[Halved(0.5), Halved(0.1)])


def test_every_key_is_unique_and_every_argument_declared_once():
    keys = [part.key for part in (*METHODS, *CONTROLLERS)]
    assert len(keys) == len(set(keys))
    assert argument(1, "x").metadata["help"] == "x"


@pytest.mark.slow
@EACH
def test_off_it_is_grpo(method, arguments, dataset):
    """The arguments at their defaults: TRL's weights, bit for bit."""

    def weights(cls, config, given):
        trainer = make_trainer(arguments(**given), dataset, cls=cls, config=config, reward_funcs=binary_reward)
        trainer.train()
        return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])

    assert torch.equal(
        weights(EntropyGRPOTrainer, EntropyGRPOConfig, defaults(method.Arguments)),
        weights(GRPOTrainer, GRPOConfig, {}),
    )
