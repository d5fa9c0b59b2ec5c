"""`trl-entropy doctor`: its figures by hand, every kind of setting without effect, and what it refuses."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from trl_entropy import cli
from trl_entropy.doctor import examine, read_plan, render
from trl_entropy.methods import CONTROLLERS, METHODS
from trl_entropy.methods.base import defaults
from trl_entropy.plan import planned
from trl_entropy.plan.memory import ModelShape, model_shape, training_bytes
from trl_entropy.script import inputs


CONFIGS = Path(__file__).parents[1] / "configs"
BASE = {
    "model_name_or_path": "Qwen/Qwen2.5-7B",
    "reward_funcs": ["math_reward"],
    "dataset_name": "x/y",
    "max_steps": 100,
}
Write = Callable[..., str]
CODE = ("its", "code")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(**settings) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**BASE, "output_dir": str(tmp_path / "out"), **settings}))
        return str(path)

    return make


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_understood(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CONFIGS.parent)
    findings = examine(read_plan(str(path), elsewhere=True))
    assert findings.problems == [], render(findings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_vllm": True, "vllm_mode": "colocate"}, "vLLM"),
        ({"accelerate_config": "zero3"}, "DeepSpeed"),
        ({"report_to": "wandb"}, "wandb"),
        ({"report_to": ["tensorboard", "trackio"]}, "trackio"),
    ],
)
def test_what_is_not_installed_here_is_refused_after_the_findings(
    write: Write, settings: dict, named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(planned, "find_spec", lambda name: None)
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    for tracker in ("wandb", "trackio"):
        monkeypatch.setattr(f"transformers.integrations.integration_utils.is_{tracker}_available", lambda: False)
    path = write(**settings)
    assert cli.main(["doctor", path]) == 1
    captured = capsys.readouterr()
    assert "Updates" in captured.out
    assert named in captured.err
    assert len(read_plan(path, elsewhere=True).refusals) == 1
    with pytest.raises(ValueError, match=named):
        read_plan(path)


@pytest.mark.parametrize(
    ("settings", "words", "processes"),
    [
        ({}, [], 1),
        ({"accelerate_config": "multi_gpu"}, [], 8),
        ({"accelerate_config": "single_gpu"}, [], 1),
        ({"accelerate_config": "fsdp2", "num_processes": 4}, [], 4),
        ({"accelerate_config": "fsdp2", "num_processes": 4}, ["--num_processes", "2"], 2),
        ({}, ["--accelerate_config=fsdp2"], 8),
    ],
)
def test_the_plan_is_for_the_processes_that_will_run(write: Write, settings: dict, words: list[str], processes: int):
    assert read_plan(write(**settings), words).processes == processes


def test_forgotten_processes_are_a_trap(write: Write):
    path = write(per_device_train_batch_size=4, gradient_accumulation_steps=2, generation_batch_size=1024)
    asked = "128 optimizer steps on each rollout are far off-policy; the papers take 8 and 16. Was --num_processes"
    assert any(asked in line for line in examine(read_plan(path)).problems)
    assert not any("off-policy" in line for line in examine(read_plan(path, processes=8)).problems)


@pytest.mark.parametrize(
    "words",
    [
        ["--num_processes", "8", "FILE"],
        ["--num_processes=8", "FILE", "--siren_top_p", "0.5"],
        ["FILE", "--num_processes", "8"],
        ["--num_processes", "8", "--config", "FILE"],
        ["--num_processes", "8", "--config=FILE"],
        ["--reward_funcs", "math_reward", "format_reward", "FILE", "--num_processes=8"],
        ["--num_processes", "8", "--log_completions", "FILE"],
    ],
)
def test_arguments_may_stand_before_the_file(write: Write, words: list[str], capsys: pytest.CaptureFixture):
    path = write(siren_coef=0.005)
    assert cli.main(["doctor", *(word.replace("FILE", path) for word in words)]) == 0
    assert "8 process(es)" in capsys.readouterr().out


def test_help_and_no_file(capsys: pytest.CaptureFixture):
    assert cli.main(["doctor", "--help"]) == 0
    assert "trl-entropy doctor CONFIG" in capsys.readouterr().out
    assert cli.main(["doctor"]) == 2
    assert "needs the path of a YAML file" in capsys.readouterr().err


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
    assert "6.96 GiB in float32" in text  # 4 * 3072 * 152064 * 4 / 2^30


def test_on_policy_is_said(write: Write):
    text = render(examine(read_plan(write(epsilon_high=0.28, gradient_accumulation_steps=4))))
    assert "Strictly on-policy" in text
    assert "epsilon_high: no effect without off-policy updates, as every ratio is 1" in text
    assert "raise generation_batch_size (or steps_per_generation, whichever the file sets)" in text


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("grpo", "the plain GRPO of SIREN, arXiv 2509.25133"),
        ("naive_bonus", "the naive bonus of SIREN, arXiv 2509.25133"),
        ("siren", "SIREN, arXiv 2509.25133"),
        ("clip_cov", "Clip-Cov, arXiv 2505.22617"),
        ("kl_cov", "KL-Cov, arXiv 2505.22617"),
    ],
)
def test_a_shipped_configuration_is_the_papers(name: str, source: str):
    (line,) = examine(read_plan(str(CONFIGS / f"{name}.yaml"), elsewhere=True)).sections["Compared with the paper"]
    assert line.startswith(f"{source}: ")


@pytest.mark.parametrize(
    ("name", "words", "differs"),
    [
        ("siren", ["--siren_penalty", "lower"], ["siren_penalty", "here", "lower", "paper", "two_sided"]),
        ("siren", ["--siren_anchor", "0.5"], ["siren_anchor", "here", "0.5", "paper", "None"]),
        ("siren_official", [], ["siren_nucleus", "here", "exclusive", "paper", "inclusive,", *CODE, "exclusive"]),
        ("siren_official", [], ["entropy_scope", "here", "micro_batch", "paper", "batch,", *CODE, "micro_batch"]),
        ("kl_cov", ["--kl_cov_clip", "true"], ["kl_cov_clip", "here", "True", "paper", "False"]),
        ("clip_cov", ["--epsilon_high", "0.28"], ["epsilon_high", "here", "0.28", "paper", "None"]),
        ("grpo", ["--learning_rate", "1e-5"], ["learning_rate", "here", "1e-05", "paper", "1e-06"]),
    ],
)
def test_another_setting_than_the_papers_is_said(name: str, words: list[str], differs: list[str]):
    findings = examine(read_plan(str(CONFIGS / f"{name}.yaml"), words, elsewhere=True))
    assert differs in [line.split() for line in findings.sections["Compared with the paper"]]


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
            "warmup_steps: no effect without an lr_scheduler_type that warms up",
        ),
        ({"entropy_coef": 0.01}, "entropy_coef=0.01: from 0.005 on"),
        ({"clip_cov_ratio": 2e-4, "max_completion_length": 64}, "hardly a token is selected"),
        ({"clip_cov_ratio": 0.1, "scale_rewards": "none"}, "hardly a token reaches it"),
        (
            {"accelerate_config": "single_gpu", "num_processes": 8},
            "num_processes: no effect without several processes: accelerate_config single_gpu starts one",
        ),
        ({"kl_cov_ratio": 0.1, "steps_per_generation": 16, "epsilon": 0.3}, "epsilon=0.3 has no effect: KL-Cov opens"),
    ],
)
def test_what_has_no_effect_is_listed(write: Write, settings: dict, problem: str):
    problems = examine(read_plan(write(**settings))).problems
    assert any(problem in line for line in problems), problems


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kl_cov_ratio": 0.1}, "strictly on-policy"),
        ({"siren_coef": -1}, "a finite number >= 0"),
        ({"siren_nucleus": "exclusiv"}, "exclusiv"),
        ({"siren_koef": 1}, "siren_koef"),
        ({"generation_batch_size": 30}, "divisible"),
        ({"siren_coef": "much"}, "much"),
        ({"reward_funcs": ["math_rewad"]}, "'math_rewad' is not known"),
        ({"reward_funcs": None}, "No reward was given"),
        ({"dataset_name": "nowhere.jsonl"}, "looks like a file, but there is none"),
        ({"dataset_name": None}, "Neither datasets nor dataset_name"),
        ({"model_name_or_path": None}, "No model was given"),
        ({"tools": ["nowhere.tool"]}, "could not be imported"),
        ({"loss_type": "drgrpo"}, "Did you mean 'dr_grpo'?"),
        ({"temperature": 0}, "temperature=0.0 is not allowed"),
        ({"scale_rewards": "groups"}, "Did you mean 'group'?"),
        ({"importance_sampling_level": "tokens"}, "Did you mean 'token'?"),
        ({"report_to": "wandbx"}, "wandbx is not supported"),
        ({"heldout_benchmark": "math501"}, "Did you mean 'math500'?"),
        ({"model_name_or_path": "./nowhere"}, "There is no folder ./nowhere"),
        ({"reward_weights": [1.0, 2.0]}, "reward_weights has 2 number(s)"),
        ({"dataset_name": "countdown", "prompt_column": "task"}, "prompt_column='task' is not in the dataset"),
        ({"dataset_name": "countdown"}, "needs a column with the gold answers"),
        ({"dataset_name": "countdown", "dataset_train_split": "training"}, "split 'training' is not in the dataset"),
        ({"siren_coef": True}, "siren_coef=True is not a number"),
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
    assert "siren_coef=0.25" in said
    assert "siren_coef                   here 0.25           paper 0.005" in said
    assert dict(os.environ) == before
    assert cli.main(["doctor", "nowhere.yaml"]) == 2


def test_processes_may_stand_in_the_file(write: Write):
    assert read_plan(write(num_processes=4, accelerate_config="fsdp2")).processes == 4


def test_the_shape_is_read_from_a_folder(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 8, "vocab_size": 99}}))
    shape = model_shape(str(tmp_path))
    assert shape is not None
    assert (shape.hidden, shape.vocabulary) == (8, 99)
    assert model_shape("nobody/knows-it") is None


@pytest.mark.parametrize("part", [*METHODS, *CONTROLLERS], ids=lambda part: part.key)
def test_whatever_is_on_is_described_with_its_arguments(part, write: Write):
    needed = {"max_steps": 100, "num_generations": 8, "per_device_train_batch_size": 8, "steps_per_generation": 2}
    needed |= part.example
    plan = read_plan(write(**needed))
    [line] = [line for line in examine(plan).sections["Method"] if line.startswith(f"{part.name}: ")]
    assert part.summary[0] in line
    for name in set(defaults(part.Arguments)) & set(part.example):
        said = yaml.safe_load(re.search(rf"\b{name}=([^,]+)", line)[1])  # pyright: ignore[reportOptionalSubscript]
        assert (float(said) if isinstance(part.example[name], float) else said) == part.example[name]


def test_memory_by_hand(write: Write):
    """Qwen2.5-7B, 7.616 billion parameters, split over 8: 2 bytes of weights, 2 of gradients, 12 of the optimizer."""
    settings = {
        "dtype": "bfloat16", "accelerate_config": "fsdp2", "per_device_train_batch_size": 4,
        "max_completion_length": 3072, "use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.3,
    }  # fmt: skip
    plan = read_plan(write(**settings), elsewhere=True)
    (line,) = [line for line in examine(plan).sections["Memory"] if line.startswith("Training")]
    found = {name: float(size) for name, size in re.findall(r"[(,] ?([a-z][a-z ]*[a-z]) (\d+\.\d)(?=[,)])", line)}
    tokens, parameters = 4 * (1024 + 3072), 7_615_283_200
    assert found == pytest.approx(
        {
            "weights": 2 * parameters / 8 / 2**30,
            "gradients and optimizer": 14 * parameters / 8 / 2**30,
            # what is inside the layer computed anew, in float32, and the inputs of 28 layers
            "activations": tokens * (4 * (3 * 18_944 + 12 * 3584) + 2 * 3584 * 28) / 2**30,
            "head": 1 + 2 * 152_064 * 3584 / 2**30,
        },
        abs=0.051,
    )
    assert plan.shards == (8, 8)
    (fits,) = [line for line in examine(plan).sections["Memory"] if line.startswith("That fits")]
    # vLLM's 0.3 must hold 14.2 GiB of weights, 3.5 of cache and 1
    engine = 2 * parameters + 16 * 4 * 28 * 512 * 4096 + 2**30
    assert int(re.findall(r"\d+", fits)[0]) == math.ceil(engine / 2**30 / 0.3)


def test_lora_holds_no_gradient_of_the_weights():
    shape = ModelShape(896, 151_936, 24, 4864, 128, tied=True)
    assert shape.parameters == 493_961_216  # Qwen2.5-0.5B without its norms and biases
    full, lora = (training_bytes(shape, 0, weight=4, lora=rank) for rank in (None, 16))
    assert (full["weights"], full["gradients and optimizer"]) == (4 * 493_961_216, 12 * 493_961_216)
    adapters = 24 * 16 * (4 * 896 + 2 * (896 + 128) + 3 * (896 + 4864))
    assert (lora["weights"], lora["gradients and optimizer"]) == (4 * (493_961_216 + adapters), 12 * adapters)


def test_hours_are_measured_or_not_known(write: Write, tmp_path: Path):
    path = write(max_steps=1800)
    assert not re.search(r"\d s a step", examine(read_plan(path)).sections["Hours"][0])
    (tmp_path / "out").mkdir()
    lines = [{"step": 1, "step_time": 3.0}, {"step": 2, "step_time": 5.0}, {"step": 2, "train_runtime": 9.0}]
    (tmp_path / "out" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (line,) = examine(read_plan(path)).sections["Hours"]
    assert line.startswith("4 s a step") and "1800 steps take 2.0 hours" in line
