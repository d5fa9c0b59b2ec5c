"""Each method with TRL's features: it trains, acts, and stays finite; or it is refused with a reason."""

import math
from unittest import mock

import pytest
import torch
from peft import LoraConfig

from tests.trainer.fake_vllm import FakeVLLMGeneration
from tests.trainer.rig import closings, make_trainer
from trl_entropy import EntropyGRPOConfig


pytestmark = pytest.mark.slow


METHODS = {
    "siren": {"siren_coef": 0.5},
    "clip_cov": {"clip_cov_ratio": 0.1, "clip_cov_low": 0.05},
    "kl_cov": {"kl_cov_ratio": 0.1},
}
ACTS = {"siren": "siren/penalty", "clip_cov": "cov/selected_share", "kl_cov": "cov/selected_share"}


def lively_reward(completion_ids, **_) -> list[float]:
    """Differs between nearly any two completions, so that no group has zero variance."""
    return [sum(ids) % 17 / 17 for ids in completion_ids]


def check(trainer, method: str) -> None:
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(rows) == trainer.args.max_steps
    assert all(math.isfinite(row["loss"]) and math.isfinite(row["grad_norm"]) for row in rows)
    assert max(row.get(ACTS[method]) or 0 for row in rows) > 0, f"{method} never acted"
    after = dict(trainer.model.named_parameters())
    assert any(not torch.equal(p, after[name]) for name, p in before.items())
    assert all(p.isfinite().all() for p in after.values())


FEATURES = {
    "accumulation": {"gradient_accumulation_steps": 2, "steps_per_generation": 4},
    "two_iterations": {"num_iterations": 2, "steps_per_generation": 1},
    "top_entropy_quantile": {"top_entropy_quantile": 0.5},
    "entropy_bonus": {"entropy_coef": 0.01},
    "off_policy_mask": {"off_policy_mask_threshold": 0.5},
    "delta": {"delta": 2.0},
    "mask_truncated": {"mask_truncated_completions": True},
    "gradient_checkpointing": {"gradient_checkpointing": True},
    "micro_batch": {"entropy_scope": "micro_batch"},
    "fp32_head": {"cast_lm_head_to_fp32": True},
    "bias_corrected_kl": {"beta": 0.1, "use_bias_correction_kl": True},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("feature", FEATURES)
def test_trl_features(feature, method, arguments, dataset, tmp_path):
    given = arguments(**{**METHODS[method], **FEATURES[feature]})
    if feature == "delta" and method == "kl_cov":
        given["kl_cov_clip"] = True  # without PPO's clip, delta is refused
    model = saved_model(tmp_path) if given.get("beta") else None
    check(make_trainer(given, dataset, model, reward_funcs=lively_reward), method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"])
def test_every_loss_type(loss_type, method, arguments, dataset):
    given = arguments(loss_type=loss_type, **METHODS[method])
    check(make_trainer(given, dataset, reward_funcs=lively_reward), method)


@pytest.mark.parametrize("method", ["siren", "kl_cov"])
@pytest.mark.parametrize("loss_type", ["grpo", "luspo"])
def test_sequence_level_ratio(loss_type, method, arguments, dataset):
    given = arguments(importance_sampling_level="sequence", loss_type=loss_type, **METHODS[method])
    check(make_trainer(given, dataset, reward_funcs=lively_reward), method)


def test_sequence_level_ratio_is_refused_with_clip_cov(arguments):
    with pytest.raises(ValueError, match="importance_sampling_level"):
        EntropyGRPOConfig(**arguments(importance_sampling_level="sequence", **METHODS["clip_cov"]))


@pytest.mark.parametrize("method", ["siren", "clip_cov"])
def test_strictly_on_policy(method, arguments, dataset):
    """TRL's default. There Clip-Cov takes one more forward to know the log-probabilities before the first backward."""
    given = arguments(steps_per_generation=1, **METHODS[method])
    check(make_trainer(given, dataset, reward_funcs=lively_reward), method)


@pytest.mark.parametrize("method", METHODS)
def test_lora(method, arguments, dataset, tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    for beta in (0.0, 0.1):
        given = arguments(beta=beta, output_dir=str(tmp_path / str(beta)), **METHODS[method])
        trainer = make_trainer(given, dataset, reward_funcs=lively_reward, peft_config=lora)
        frozen = [p for p in trainer.model.parameters() if not p.requires_grad]
        before = [p.detach().clone() for p in frozen]
        check(trainer, method)
        assert all(torch.equal(a, b) for a, b in zip(before, frozen, strict=True))


@pytest.mark.parametrize("mode", ["colocate", "server"])
@pytest.mark.parametrize("method", METHODS)
def test_vllm(method, mode, arguments, dataset):
    given = arguments(use_vllm=True, vllm_mode=mode, **METHODS[method])
    with (
        mock.patch("trl.trainer.grpo_trainer.VLLMGeneration", FakeVLLMGeneration),
        mock.patch("trl.trainer.grpo_trainer.is_vllm_available", return_value=True, create=True),
    ):
        trainer = make_trainer(given, dataset, reward_funcs=lively_reward)
    check(trainer, method)
    assert "sampling/importance_sampling_ratio/mean" in trainer.state.log_history[0]
    engine = trainer.vllm_generation
    assert isinstance(engine, FakeVLLMGeneration) and engine.syncs > 0


def saved_model(folder) -> str:
    """A path, where TRL can load the reference model of `beta > 0` from."""
    from tests.conftest import tiny_model, tiny_tokenizer

    path = str(folder / "tiny")
    tiny_model().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_tool_tokens_are_never_regularized(method, arguments, dataset):
    """Tokens that a tool wrote are in the completion but not the policy's: they are neither counted nor selected."""
    from tests.trainer.rig import fixed_batch, select, step_gradient, with_old_logps

    gradients = []
    for tool_words in (5, 9):
        trainer = make_trainer(arguments(loss_type="dr_grpo", **METHODS[method]), dataset)
        batch = fixed_batch()
        tool = torch.zeros_like(batch["completion_mask"])
        tool[:, -1] = 1  # the last token is the tool's: changing it changes no forward before it
        batch["completion_ids"] = torch.where(
            tool * batch["completion_mask"] == 1, tool_words, batch["completion_ids"]
        )
        batch = {**with_old_logps(trainer, batch), "tool_mask": 1 - tool}
        scored = select(trainer, batch)
        for key in (key for key in scored if key.endswith("/selected")):
            assert not (scored[key] & tool.bool()).any()
        step_gradient(trainer, scored, 2)
        gradients.append(step_gradient(trainer, scored, 2))
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


def test_evaluation_leaves_the_state_alone(arguments, dataset):
    given = arguments(
        siren_coef=0.5, eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=4, num_generations_eval=4
    )
    trainer = make_trainer(given, dataset, reward_funcs=lively_reward, eval_dataset=dataset.select(range(2)))
    steps = closings(trainer.methods[0])
    trainer.train()
    assert [totals["sequences"] for totals, _ in steps] == [4.0] * 3  # no evaluation adds to the sums of a step
    state = dict(vars(trainer.methods[0].state))
    trainer.evaluate()
    assert vars(trainer.methods[0].state) == state
    assert any("eval_loss" in row for row in trainer.state.log_history)
