"""Controllers in a run: their factors multiply on every coefficient, and a resumed run goes on where it was."""

import math
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from tests.methods.test_every_method import binary_reward
from tests.trainer.rig import make_trainer
from trl_entropy import EntropyGRPOConfig
from trl_entropy.methods import BONUS, CONTROLLERS, Method, methods_on
from trl_entropy.step.controls import Controls


TOGETHER = {
    "schedule_shape": "linear",
    "schedule_start": 1.0,
    "schedule_end": 0.5,
    "sign_step_size": 0.25,
    "control_target": 1.0,
    "entropy_guard": "lower",
    "entropy_guard_high": 2.0,
    "entropy_coef": 0.01,
    "repo_zeta": 0.1,
    "w_reinforce_positive": 0.5,
    "maxrl": True,
    "w_reinforce_baseline": "group",
}


def test_factors_multiply_by_hand(arguments):
    """Half of the training, above the target and the guard's bound: 0.75 of the schedule, a step down for what raises
    entropy and up for what lowers it, half for what raises it."""
    args = EntropyGRPOConfig(**arguments(**TOGETHER))
    controls = Controls(args, tuple(kind().attach(args) for kind in methods_on(args)))
    trainer = SimpleNamespace(entropy_coef=None)
    controls.apply(trainer)
    assert trainer.entropy_coef == 0.01
    assert [(m.key, m.gain) for m in controls.methods] == [("maxrl", 1.0), ("w_reinforce", 1.0), ("repo", 1.0)]
    logged = controls.step(5, 0.5, 3.0)
    controls.apply(trainer)
    assert logged == {
        "schedule/factor": 0.75,
        "sign_step/target": 1.0,
        "sign_step/factor": 1.25,
        "guard/scale": 0.5,
    }
    gains = {m.key: m.gain for m in controls.methods}
    assert gains == {"maxrl": 1.0, "w_reinforce": 0.75 * 1.25, "repo": 0.75 * 0.75 * 0.5}
    assert trainer.entropy_coef == pytest.approx(0.01 * 0.75 * 0.75 * 0.5)
    assert not controls.stop


def test_a_negative_bonus_goes_the_other_way(arguments):
    """TRL's coefficient below 0 lowers entropy: above the target it grows."""
    args = EntropyGRPOConfig(**arguments(entropy_coef=-0.01, sign_step_size=0.5, control_target=1.0))
    controls, trainer = Controls(args, ()), SimpleNamespace(entropy_coef=None)
    controls.step(1, 0.1, 3.0)
    controls.apply(trainer)
    assert trainer.entropy_coef == pytest.approx(-0.015)


def test_trls_own_controller_keeps_its_coefficient(arguments):
    args = EntropyGRPOConfig(
        **arguments(entropy_coef=0.01, use_adaptive_entropy=True, schedule_shape="linear", repo_zeta=0.1)
    )
    controls = Controls(args, tuple(kind().attach(args) for kind in methods_on(args)))
    assert controls.names == ("repo",)
    trainer = SimpleNamespace(entropy_coef="TRL's")
    controls.apply(trainer)
    assert trainer.entropy_coef == "TRL's"


@pytest.mark.parametrize("method", ["siren_coef", "aent_coef", "repo_zeta", "entropy_adv_alpha", "lp_reg_coef"])
def test_a_start_of_0_is_a_first_step_without_the_term(method, arguments, dataset):
    """Skywork's beginning: the factor holds from the first step on."""
    trainer = make_trainer(
        arguments(**{method: 0.5}, sign_step_size=0.25, control_target=9.0, control_start=0.0), dataset
    )
    assert trainer.methods[0].gain == 0.0


class Own(Method):
    """A user's method with a coefficient that raises entropy."""

    key, name, summary, coefficient = "own", "Own", ("nothing", "in tests", "none"), "own_coef"

    def direction(self):
        return 1


@pytest.mark.parametrize("controller", ["sign_step", "doubling", "pi_control", "band", "schedule", "entropy_guard"])
def test_it_moves_a_users_own_method_alone(controller, arguments, dataset):
    """Beside no other coefficient; without the method the trainer refuses it before a model loads."""
    (kind,) = (kind for kind in CONTROLLERS if kind.key == controller)
    given = arguments(**{**kind.example, "entropy_coef": 0.0})
    with pytest.raises(ValueError, match=f"{kind.switch}=.* has no coefficient to move"):
        make_trainer(given, dataset, model="no/such-model")
    trainer = make_trainer(given, dataset, methods=[Own()], reward_funcs=binary_reward)
    trainer.train()
    (method,) = trainer.methods
    assert method.gain != 1.0


RUNS = {
    **{kind.key: dict(kind.example) for kind in CONTROLLERS if kind.example and kind.key != "entropy_guard"},
    "together": {**TOGETHER, "control_target": 5.0},
}


class StopAt2(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_is_the_uninterrupted_one(name, arguments, dataset, tmp_path):
    def run(folder: str):
        given = {**RUNS[name], "max_steps": 4, "save_strategy": "steps", "save_steps": 2}
        return make_trainer(
            arguments(**{**given, "output_dir": str(tmp_path / folder)}), dataset, reward_funcs=binary_reward
        )

    whole = run("whole")
    whole.train()
    first = run("first")
    first.add_callback(StopAt2())
    first.train()
    resumed = run("first")
    resumed.train(resume_from_checkpoint=True)
    for one, other in zip(whole._controls.controllers, resumed._controls.controllers, strict=True):
        assert asdict(one.state) == asdict(other.state)
    assert resumed.entropy_coef == whole.entropy_coef
    for key, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[key]), key


@pytest.mark.parametrize("name", RUNS)
def test_what_is_logged_is_what_the_next_step_uses(name, arguments, dataset):
    """Three steps: the bonus is its coefficient times the product of the logged factors, and it has moved."""
    trainer = make_trainer(arguments(**RUNS[name]), dataset, reward_funcs=binary_reward)
    trainer.train()
    (last,) = (row for row in trainer.state.log_history if row.get("step") == 3 and "loss" in row)
    logged = {key: value for key, value in last.items() if key.endswith("/factor")}
    assert all(math.isfinite(value) for value in logged.values()) and logged
    product = math.prod(controller.factors((BONUS,))[BONUS] for controller in trainer._controls.controllers)
    assert trainer.entropy_coef == pytest.approx(trainer.args.entropy_coef * product)
    assert product != 1.0
    if name != "together":
        assert product == pytest.approx(*logged.values())
