"""The dynamics: the theorem's terms, the realised change, and a training run that does not notice."""

import json
import math

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from trl_entropy.callbacks.dynamics_watch import EntropyDynamicsCallback, compare, evaluating, forward_of
from trl_entropy.functional.dynamics import dynamics_terms, entropy_drivers, state_covariance

from ..conftest import poison, tiny_model, tiny_tokenizer, vowel_reward


LOGPS = torch.tensor([[-0.05, -3.0, -8.0], [-0.5, -1.0, -2.0]])
ENTROPY = torch.tensor([[0.2, 1.5, 1.0], [0.6, 1.0, 1.2]])
ADVANTAGES = torch.tensor([1.0, -1.0])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])


def test_state_covariance_by_hand_and_blind_to_padding():
    expected = torch.tensor([[0.15, -1.5, -7.0], [-0.1, 0.0, 0.0]])
    for pad in (math.nan, 1e9):
        args = (poison(LOGPS, MASK, pad), poison(ENTROPY, MASK, pad), ADVANTAGES, MASK)
        torch.testing.assert_close(state_covariance(*args), expected)
        terms = dynamics_terms(*args)
        assert terms["state_covariance"].item() == pytest.approx(expected.sum().item() / 5)
        assert math.isfinite(terms["covariance"].item())


def test_state_covariance_estimates_the_theorems_term_without_bias():
    """The mean over actions drawn from pi is Cov(log pi, A) in that state, for any centring of A."""
    policy = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    advantage = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 3.0
    logp = policy.log()
    entropy = -(policy * logp).sum()
    exact = (policy * logp * advantage).sum() - (policy * logp).sum() * (policy * advantage).sum()
    terms = state_covariance(logp[None], entropy.expand(1, 3), advantage[None], torch.ones(1, 3))
    torch.testing.assert_close((policy * terms[0]).sum(), exact)


def test_the_state_covariance_is_the_slope_of_entropy_along_the_policy_gradient():
    """One small natural-gradient step, `z += eta * A`: Delta H = -eta * Cov(log pi, A)."""
    logits = torch.tensor([0.3, -0.4, 1.1], dtype=torch.float64)
    advantage = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)

    def entropy_of(z):
        return -(z.softmax(0) * z.log_softmax(0)).sum()

    eta = 1e-6
    realised = (entropy_of(logits + eta * advantage) - entropy_of(logits)) / eta
    policy, logp = logits.softmax(0), logits.log_softmax(0)
    terms = state_covariance(logp[None], entropy_of(logits).expand(1, 3), advantage[None], torch.ones(1, 3))
    torch.testing.assert_close(realised, -(policy * terms[0]).sum(), rtol=1e-4, atol=1e-8)


def test_drivers_by_hand():
    change = torch.tensor([[-0.01, 0.02, 0.03], [0.0, -0.05, torch.nan]])
    table = entropy_drivers(LOGPS, ADVANTAGES, change, MASK)
    assert table.shape == (2, 6, 3)
    # logps -0.05, -3, -8 (positive) lie in bins 5, 2, 0; -0.5 and -1.0 (negative) in bins 4 and 3
    assert table[0, :, 0].tolist() == pytest.approx([0.2, 0, 0.2, 0, 0, 0.2])
    assert table[1, :, 0].tolist() == pytest.approx([0, 0, 0, 0.2, 0.2, 0])
    assert table[0, 0, 2].item() == pytest.approx(0.03 / 5)
    assert table[1, 3, 2].item() == pytest.approx(-0.05 / 5)
    terms = dynamics_terms(LOGPS, ENTROPY, ADVANTAGES, MASK)
    assert table[..., 1].sum().item() == pytest.approx(terms["covariance"].item(), rel=1e-5)
    assert table[..., 2].sum().item() == pytest.approx(-0.01 / 5)


def test_nothing_counted_gives_zeros():
    none = torch.zeros_like(MASK)
    assert dynamics_terms(LOGPS, ENTROPY, ADVANTAGES, none)["covariance"] == 0
    assert entropy_drivers(LOGPS, ADVANTAGES, LOGPS, none).abs().sum() == 0


def test_one_line_by_hand():
    rows = {"completion_mask": MASK, "advantages": ADVANTAGES}
    figures = compare(rows, (LOGPS, ENTROPY), ENTROPY - 0.1)
    assert figures["tokens"] == 5
    assert figures["entropy_before"] == pytest.approx(4.3 / 5)
    assert figures["entropy_change"] == pytest.approx(-0.1)
    assert figures["drivers"][0]["logp"] == [None, -6.91]
    assert sum(d["change"] for d in figures["drivers"]) == pytest.approx(-0.1)
    json.dumps(figures, allow_nan=False)


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
