"""`trl-entropy init`: every file it writes is accepted, is the paper's, and agrees with configs/."""

from pathlib import Path

import pytest
import yaml

from trl_entropy import cli
from trl_entropy.init import SIZES, YOURS, configuration
from trl_entropy.plan import read_plan
from trl_entropy.published import PUBLISHED, published


CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("method", PUBLISHED)
@pytest.mark.parametrize("size", SIZES)
def test_every_configuration_is_accepted_and_is_the_papers(method: str, size: str, tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(configuration(method, size))
    plan = read_plan(str(path))
    assert plan.warnings == ()
    settings = published(method, SIZES[size].billions)[1]
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
    ],
)
def test_bad_input(arguments: list[str], wanted: str, capsys: pytest.CaptureFixture):
    assert cli.main(["init", *arguments]) == 2
    assert wanted in capsys.readouterr().err
