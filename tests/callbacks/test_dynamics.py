"""The dynamics: the theorem's terms, the realised change, and a training run that does not notice."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from trl_entropy.callbacks.dynamics_watch import EntropyDynamicsCallback, evaluating, forward_of
from trl_entropy.functional import token_covariance
from trl_entropy.functional.dynamics import dynamics_means, dynamics_sums, state_covariance
from trl_entropy.functional.selection import Scope

from ..conftest import poison, tiny_model, tiny_tokenizer, vowel_reward


LOGPS = torch.tensor([[-0.05, -3.0, -8.0], [-0.5, -1.0, -2.0]])
ENTROPY = torch.tensor([[0.2, 1.5, 1.0], [0.6, 1.0, 1.2]])
ADVANTAGES = torch.tensor([1.0, -1.0])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
CHANGE = torch.tensor([[-0.01, 0.02, 0.03], [0.0, -0.05, 7.0]])


def test_means_by_hand_and_blind_to_padding():
    expected = torch.tensor([[0.15, -1.5, -7.0], [-0.1, 0.0, 0.0]])
    for pad in (math.nan, 1e9):
        logps, entropy, after = (poison(v, MASK, pad) for v in (LOGPS, ENTROPY, ENTROPY + CHANGE))
        torch.testing.assert_close(state_covariance(logps, entropy, ADVANTAGES, MASK), expected)
        found = dynamics_means(dynamics_sums(logps, entropy, ADVANTAGES, after, MASK))
        assert found["state_covariance"] == pytest.approx(expected.sum().item() / 5)
        # sum logp -12.55, sum A 1, sum logp A -11.05 + 1.5 = -9.55
        assert found["covariance"] == pytest.approx(-9.55 / 5 + 12.55 / 25)
        assert found["entropy_before"] == pytest.approx(4.3 / 5)
        assert found["entropy_change"] == pytest.approx(-0.01 / 5, rel=1e-4)
        assert found["tokens"] == 5


def test_the_covariance_is_the_mean_of_what_the_methods_select_by():
    found = dynamics_means(dynamics_sums(LOGPS, ENTROPY, ADVANTAGES, ENTROPY, MASK))
    assert found["covariance"] == pytest.approx(token_covariance(LOGPS, ADVANTAGES, MASK).sum().item() / 5)


def test_sums_add_up_over_micro_batches():
    whole = dynamics_sums(LOGPS, ENTROPY, ADVANTAGES, ENTROPY + CHANGE, MASK)
    parts = [
        dynamics_sums(*(v[i : i + 1] for v in (LOGPS, ENTROPY, ADVANTAGES, ENTROPY + CHANGE, MASK))) for i in (0, 1)
    ]
    torch.testing.assert_close(parts[0] + parts[1], whole)


def test_nothing_counted_gives_zeros():
    found = dynamics_means(dynamics_sums(LOGPS, ENTROPY, ADVANTAGES, ENTROPY, torch.zeros_like(MASK)))
    assert set(found.values()) == {0}


def update(callback: EntropyDynamicsCallback, step: int, micro_batches: list[dict]) -> None:
    """One optimizer step, as the trainer goes through it."""
    state = SimpleNamespace(global_step=step - 1, is_world_process_zero=True)
    for inputs in micro_batches:
        callback.before_loss(step, inputs)
    callback.on_pre_optimizer_step(None, state, None)
    callback.on_optimizer_step(None, state, None)


def test_completions_come_from_all_micro_batches_of_a_step_until_there_are_enough(tmp_path):
    """Three micro-batches of two completions, five wanted; a second process of the same numbers doubles the tokens."""
    seen, logged = [], []

    def measure(rows):
        seen.append(len(rows["advantages"]))
        moved = CHANGE if len(seen) > 3 else 0
        return LOGPS[: seen[-1]], (ENTROPY + moved)[: seen[-1]]

    class Two(Scope):
        def sum(self, values):
            return 2 * values

    callback = EntropyDynamicsCallback(measure, tmp_path, logged.append, every=2, completions=5, scope=Two())
    inputs = dict.fromkeys(("prompt_ids", "prompt_mask", "completion_ids"), torch.ones(2, 3))
    inputs |= {"completion_mask": MASK, "advantages": ADVANTAGES}
    update(callback, 2, [inputs] * 3)
    assert seen == [2, 2, 1, 2, 2, 1]
    (line,) = [json.loads(line) for line in callback.path.read_text().splitlines()]
    assert (line["step"], line["tokens"]) == (2, 2 * (5 + 5 + 3))
    assert line["entropy_change"] == pytest.approx((2 * -0.01 + 0.04) / 13, rel=1e-4)
    assert logged == [{f"dynamics/{key}": line[key] for key in ("covariance", "state_covariance", "entropy_change")}]
    update(callback, 3, [inputs])  # not due
    assert len(seen) == 6
    update(callback, 4, [{**inputs, "tool_mask": torch.tensor([[1, 0, 0], [1, 1, 0]])}])
    assert json.loads(callback.path.read_text().splitlines()[1])["tokens"] == 2 * 3  # what a tool wrote does not count


def test_eval_mode_is_undone_module_by_module():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    model.train()
    model[1].eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
    assert [m.training for m in model] == [True, False]
    assert model.training


class Watched(GRPOTrainer):
    """TRL's trainer, handing each micro-batch to the callback."""

    dynamics: EntropyDynamicsCallback | None = None

    def _compute_loss(self, model, inputs):
        if self.dynamics is not None and self.model.training:
            self.dynamics.before_loss(self.state.global_step + 1, inputs)
        return super()._compute_loss(model, inputs)


def train(arguments, dataset, watch, tmp_path, **overrides):
    model = tiny_model(attention_dropout=0.1)  # dropout makes the training draw random numbers
    args = GRPOConfig(**arguments(output_dir=str(tmp_path / f"watch{watch}"), max_steps=4, **overrides))
    trainer = Watched(model, vowel_reward, args, train_dataset=dataset, processing_class=tiny_tokenizer())
    if watch:

        def log(figures):
            for key, value in figures.items():
                trainer._metrics["train"][key].append(value)

        trainer.dynamics = EntropyDynamicsCallback(forward_of(trainer), args.output_dir, log, every=2)
        trainer.add_callback(trainer.dynamics)
    trainer.train()
    return trainer


def test_a_run_is_measured_and_does_not_notice(arguments, dataset, tmp_path):
    plain = train(arguments, dataset, False, tmp_path)
    watched = train(arguments, dataset, True, tmp_path)
    for (name, a), b in zip(plain.model.named_parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(a, b), name
    lines = [json.loads(line) for line in watched.dynamics.path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 4]
    assert all(line["entropy_change"] != 0 for line in lines)
    logged = {entry["step"]: entry for entry in watched.state.log_history if "dynamics/entropy_change" in entry}
    assert [step for step, entry in logged.items() if entry["dynamics/entropy_change"] is not None] == [1, 2, 4]
    assert logged[2]["dynamics/entropy_change"] == pytest.approx(lines[1]["entropy_change"])


def test_the_realised_change_is_the_change_of_the_weights(arguments, dataset, tmp_path):
    """A learning rate of 0 moves nothing: before and after agree bit for bit."""
    watched = train(arguments, dataset, True, tmp_path, learning_rate=0.0)
    lines = [json.loads(line) for line in watched.dynamics.path.read_text().splitlines()]
    assert [line["entropy_change"] for line in lines] == [0.0, 0.0, 0.0]


def test_images_deepspeed_and_bad_settings_are_refused(tmp_path):
    callback = EntropyDynamicsCallback(lambda rows: (LOGPS, ENTROPY), tmp_path, print)
    with pytest.raises(ValueError, match="images"):
        callback.before_loss(1, {"pixel_values": torch.zeros(1)})
    with pytest.raises(ValueError, match="every is 0"):
        EntropyDynamicsCallback(lambda rows: (LOGPS, ENTROPY), tmp_path, print, every=0)

    class UnderDeepSpeed:
        is_deepspeed_enabled = True

    with pytest.raises(ValueError, match="DeepSpeed"):
        forward_of(UnderDeepSpeed())
