"""`trl-entropy init`: every file it writes is accepted, is the paper's, and agrees with configs/."""

from pathlib import Path

import pytest
import yaml
from trl_entropy.plan.sizes import ROOM

from trl_entropy import cli
from trl_entropy.plan import findings as doctor
from trl_entropy.plan.configuration import SIZES, SYSTEM_PROMPT, YOURS, configuration
from trl_entropy.plan.planned import read_plan
from trl_entropy.plan.published import PUBLISHED, ours, published


CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("method", PUBLISHED)
@pytest.mark.parametrize("size", SIZES)
def test_every_configuration_is_accepted_and_is_the_papers(method: str, size: str, tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(configuration(method, size))
    plan = read_plan(str(path))
    assert plan.warnings == ()
    settings = {**published(method, SIZES[size].billions)[1], **ours(method)}
    assert plan.steps_per_rollout == settings.pop("optimizer steps a rollout")
    assert {name: getattr(plan.args, name) for name in settings} == settings


@pytest.mark.parametrize("method", PUBLISHED)
def test_it_agrees_with_the_file_in_configs(method: str):
    written, kept = (
        yaml.safe_load(configuration(method, "7b")),
        yaml.safe_load((CONFIGS / f"{method}.yaml").read_text()),
    )
    shared = written.keys() & kept.keys() - {"output_dir"}
    assert {name: written[name] for name in shared} == {name: kept[name] for name in shared}
    assert kept.keys() - written.keys() <= {"log_entropy_details", "mask_truncated_completions"}


def test_the_32b_settings_differ_where_the_paper_says_so():
    small, large = published("kl_cov", 7)[1], published("kl_cov", 32)[1]
    assert (small["kl_cov_ratio"], large["kl_cov_ratio"]) == (2e-3, 2e-4)
    assert (small["learning_rate"], large["learning_rate"]) == (5e-7, 1e-6)


def test_the_step_is_the_papers_whatever_the_gpus():
    for gpus in (1, 2, 4, 16, 64):
        content = yaml.safe_load(configuration("siren", "7b", gpus))
        per_step = content["per_device_train_batch_size"] * content["gradient_accumulation_steps"] * gpus
        assert per_step == 1024 / 16


def test_the_command_says_what_is_yours_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "sub" / "siren.yaml"
    assert cli.main(["init", "siren", "--size", "1.5B", "--output", str(path)]) == 0
    said = capsys.readouterr().err
    assert f"trl-entropy doctor {path}" in said
    assert "siren_coef" in said
    assert "siren_top_p" not in said
    marked = {line.partition(":")[0] for line in path.read_text().splitlines() if "# yours" in line}
    assert marked == {name for name in YOURS if f"{name}, " in said or f"{name}. The rest" in said}
    assert "said to be ours" in said

    assert cli.main(["init", "siren", "--output", str(path)]) == 2  # nothing is overwritten unasked
    assert "--force" in capsys.readouterr().err
    assert "1.5B" in path.read_text()
    assert cli.main(["init", "siren", "--output", str(path), "--force"]) == 0


def test_without_a_file_the_configuration_is_the_standard_output(capsys: pytest.CaptureFixture):
    assert cli.main(["init", "kl_cov", "--size", "32b"]) == 0
    captured = capsys.readouterr()
    assert captured.out == configuration("kl_cov", "32b")
    assert "Yours to change" in captured.err


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["sirene"], "one of grpo, naive_bonus, siren"),
        (["siren", "--size", "8b"], "one of 0.5b"),
        (["siren", "--gpus", "3"], "power of 2 up to 64"),
        (["siren", "--gpus", "0"], "--gpus 0 is not allowed; give 1 or more."),
        (["siren", "--gpus", "-2"], "--gpus -2 is not allowed; give 1 or more."),
    ],
)
def test_bad_input(arguments: list[str], wanted: str, capsys: pytest.CaptureFixture):
    assert cli.main(["init", *arguments]) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("method", PUBLISHED)
@pytest.mark.parametrize("size", SIZES)
def test_weights_keep_their_updates_and_fit(method: str, size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No trap but that nothing is installed here; and the estimate, of which doctor knows nothing, leaves room."""
    monkeypatch.setattr(doctor, "_installed", lambda package: True)
    path = tmp_path / "config.yaml"
    path.write_text(configuration(method, size))
    assert doctor.examine(read_plan(str(path))).problems == []
    content, needs = yaml.safe_load(path.read_text()), SIZES[size]
    sharded = content["accelerate_config"].startswith("zero")
    assert content["dtype"] == ("bfloat16" if sharded else "float32")
    gpus, per_device = content["num_processes"], content["per_device_train_batch_size"]
    assert needs.gib(gpus, per_device, content["max_completion_length"]) <= ROOM
    weights = 2e9 * needs.billions / content.get("vllm_tensor_parallel_size", 1)
    assert weights < 0.9 * content["vllm_gpu_memory_utilization"] * 80e9


def test_memory_by_hand():
    """3B on two GPUs: weights 2 bytes and half of 14 others; 8 * 4096 tokens, 36 layers; head, tile, vLLM's 24 GiB."""
    states, activations = 3.086e9 * 9, 8 * 4096 * 2048 * (2 * 36 + 96)
    head = 2**30 + 151_936 * 2048 * 4
    assert SIZES["3b"].gib(2, 8, 3072) == pytest.approx((states + activations + head) / 2**30 + 24)


def test_what_does_not_fit_is_said():
    assert "# 1 GPU(s): about 157 GiB of each, more than 80 GB hold." in configuration("siren", "7b", 1)
    assert "Sized for" not in configuration("siren", "7b", 1)
    assert "# Sized for 8 GPU(s) of 80 GB with vLLM: about 51 GiB of each." in configuration("siren", "7b")


def test_several_machines_are_launched_as_printed():
    text = configuration("kl_cov", "32b")
    content = yaml.safe_load(text)
    assert (content["num_processes"], content["num_machines"]) == (16, 2)
    line = next(line for line in text.splitlines() if line.startswith("# On each machine: trl-entropy grpo "))
    assert {"--machine_rank", "--main_process_ip", "--main_process_port"} <= set(line.split())
    assert "num_machines" not in configuration("kl_cov", "32b", 8)


def test_the_extras_are_named():
    assert 'pip install ".[vllm]"' in configuration("siren", "1.5b")
    assert 'pip install ".[vllm,deepspeed]"' in configuration("siren", "7b")


def test_a_model_that_knows_no_boxes_is_told():
    for method, size in (("siren", "0.5b"), ("kl_cov", "7b")):
        assert yaml.safe_load(configuration(method, size))["system_prompt"] == SYSTEM_PROMPT
    assert "system_prompt" not in configuration("siren", "7b")  # Qwen2.5-Math's template says it


def test_what_the_paper_leaves_open_is_ours():
    lines = configuration("clip_cov", "7b").splitlines()
    assert {line.split(":")[0] for line in lines if line.endswith("# ours")} == {"lr_scheduler_type", "weight_decay"}
    assert not {"lr_scheduler_type", "weight_decay"} & set(published("clip_cov")[1])
