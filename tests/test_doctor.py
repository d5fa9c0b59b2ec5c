"""`trl-entropy doctor`: its figures by hand, every kind of setting without effect, and what it refuses."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trl_entropy import cli
from trl_entropy.doctor import examine, render
from trl_entropy.plan import model_shape, read_plan


CONFIGS = Path(__file__).parents[1] / "configs"
BASE = {
    "model_name_or_path": "Qwen/Qwen2.5-7B",
    "reward_funcs": ["math_reward"],
    "dataset_name": "x/y",
    "max_steps": 100,
}
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(**settings) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**BASE, "output_dir": str(tmp_path / "out"), **settings}))
        return str(path)

    return make


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_understood(path: Path):
    plan = read_plan(str(path), processes=None if "processes" in path.read_text().split("\n\n")[1] else 8)
    findings = examine(plan)
    assert findings.problems == [], render(findings)


def test_figures_by_hand(write: Write):
    """4 a device x 2 accumulated x 8 devices = 64 a step; 1024 / 64 = 16 steps; 1024 x 3072 tokens."""
    path = write(
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        generation_batch_size=1024,
        num_generations=8,
        max_completion_length=3072,
        clip_cov_ratio=2e-4,
        siren_coef=0.005,
        dtype="bfloat16",
        max_steps=32,
    )
    plan = read_plan(path, processes=8)
    assert (plan.steps_per_rollout, plan.completions_per_step) == (16, 64)
    text = render(examine(plan))
    assert "128 prompts x 8 completions" in text
    assert "16 optimizer step(s) a rollout, each on 64" in text
    assert "Off-policy: from the second step of a rollout on (94 % of all steps)" in text
    assert "At most 3,145,728 tokens" in text
    assert "32 optimizer steps: 2 rollouts, 256 prompts" in text
    assert "at most 629 tokens a rollout (39.3 a step), 157 if" in text  # floor(2e-4 * 3145728), / 16, a quarter
    assert "about 39,322 of at most 196,608 tokens a step" in text  # 64 * 3072, a fifth
    assert "1.02 GiB of weights in bfloat16" in text  # 152064 * 3584 * 2 / 2^30
    assert "6.96 GiB in float32" in text  # 4 * 3072 * 152064 * 4 / 2^30


def test_on_policy_is_said(write: Write):
    text = render(examine(read_plan(write(epsilon_high=0.28, gradient_accumulation_steps=4))))
    assert "Strictly on-policy" in text
    assert "epsilon_high: no effect while updates are strictly on-policy" in text


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"lora_r": 8}, "lora_r: no effect without use_peft: true"),
        ({"vllm_mode": "colocate"}, "vllm_mode: no effect without use_vllm: true"),
        ({"hub_private_repo": True}, "hub_private_repo: no effect without push_to_hub: true"),
        ({"entropy_target": 0.2}, "entropy_target: no effect without use_adaptive_entropy: true"),
        ({"num_generations_eval": 4}, "num_generations_eval: no effect without eval_strategy"),
        ({"sync_ref_model": True}, "sync_ref_model: no effect without beta above 0"),
        (
            {"warmup_steps": 5, "lr_scheduler_type": "constant"},
            "warmup_steps: no effect with lr_scheduler_type constant",
        ),
        ({"entropy_coef": 0.01}, "entropy_coef=0.01: from 0.005 on"),
        ({"save_steps": 500}, "no checkpoint before the end"),
        ({"loss_type": "dr_grpo", "scale_rewards": "group"}, "Dr. GRPO drops that division"),
        ({"clip_cov_ratio": 2e-4, "max_completion_length": 64}, "hardly a token is selected"),
        ({"clip_cov_ratio": 0.1, "scale_rewards": "none"}, "hardly a token reaches it"),
        ({"kl_cov_ratio": 0.1, "steps_per_generation": 16, "epsilon": 0.3}, "epsilon=0.3 has no effect: KL-Cov opens"),
    ],
)
def test_what_has_no_effect_is_listed(write: Write, settings: dict, problem: str):
    problems = examine(read_plan(write(**settings))).problems
    assert any(problem in line for line in problems), problems


def test_a_push_without_a_token_is_foreseen(write: Write, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    path = write(push_to_hub=True, save_steps=50)
    assert any("no token" in line for line in examine(read_plan(path)).problems)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
    assert examine(read_plan(path)).problems == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kl_cov_ratio": 0.1}, "strictly on-policy"),
        ({"siren_coef": -1}, "a finite number >= 0"),
        ({"siren_nucleus": "exclusiv"}, "exclusiv"),
        ({"siren_koef": 1}, "siren_koef"),
        ({"generation_batch_size": 30}, "divisible"),
        ({"siren_coef": "much"}, "much"),
    ],
)
def test_what_training_would_refuse_is_refused(
    write: Write, settings: dict, reason: str, capsys: pytest.CaptureFixture
):
    assert cli.main(["doctor", write(**settings)]) == 1
    captured = capsys.readouterr()
    assert reason in captured.err
    assert "would be refused" in captured.err
    assert captured.out == ""


def test_the_command(write: Write, capsys: pytest.CaptureFixture):
    before = dict(os.environ)
    path = write(steps_per_generation=16)
    assert cli.main(["doctor", path, "--num_processes", "2", "--siren_coef", "0.25"]) == 0
    said = capsys.readouterr().out
    assert "2 process(es)" in said
    assert "SIREN: 0.25 * (H - anchor)^2" in said
    assert "siren_coef                   here 0.25           paper 0.005" in said
    assert dict(os.environ) == before
    assert cli.main(["doctor", "nowhere.yaml"]) == 2


def test_processes_may_stand_in_the_file(write: Write):
    assert read_plan(write(num_processes=4, accelerate_config="zero3")).processes == 4


def test_the_shape_is_read_from_a_folder(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 8, "vocab_size": 99}}))
    shape = model_shape(str(tmp_path))
    assert shape is not None
    assert (shape.hidden, shape.vocabulary) == (8, 99)
    assert model_shape("nobody/knows-it") is None
