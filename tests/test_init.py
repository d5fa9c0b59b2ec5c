"""`trl-entropy init`: it copies what `configs/` holds, and sizes it."""

import re
from pathlib import Path

import pytest
import yaml

from trl_entropy import cli
from trl_entropy.doctor import examine, read_plan
from trl_entropy.plan.configuration import FOLDER, SIZES, configuration, shipped
from trl_entropy.plan.memory import GIB, QWEN, training_bytes


ROOT = Path(__file__).parents[1]
FILES = sorted(path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name not in ("accelerate", "study"))
METHODS = ["grpo", "naive_bonus", "siren", "siren_official", "clip_cov", "kl_cov"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_copy_is_the_file(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(ROOT)
    assert cli.main(["init", path.stem]) == 0
    assert capsys.readouterr().out == path.read_text()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_keeps_the_papers_step(name: str, size: str, tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(configuration(name, size))
    plan, file = read_plan(str(path), elsewhere=True), read_plan(str(ROOT / f"configs/{name}.yaml"), elsewhere=True)
    assert (plan.warnings, examine(plan).problems) == ((), [])
    assert (plan.steps_per_rollout, plan.completions_per_step) == (file.steps_per_rollout, file.completions_per_step)
    # On a GPU of its own a model must be float32; ZeRO keeps a float32 copy
    written = yaml.safe_load(path.read_text())
    assert written["dtype"] == ("bfloat16" if written["accelerate_config"].startswith("zero") else "float32")
    assert written["num_processes"] == SIZES[size][0]
    # Qwen2.5-Math's chat template asks for the box itself
    assert ("system_prompt" in written) != ("Math" in written["model_name_or_path"])
    shown = re.search(r"(\d+) x (\d+) x (\d+) GPU", path.read_text())
    assert shown
    assert int(shown[1]) * int(shown[2]) * int(shown[3]) == plan.completions_per_step


def test_only_the_papers_own_32b_settings_differ_by_size():
    """arXiv 2505.22617: 32B takes a learning rate of 1e-6 and, for KL-Cov, 2e-4 of the tokens; 7B 5e-7 and 2e-3."""
    small, large = (yaml.safe_load(configuration("kl_cov", size)) for size in ("14b", "32b"))
    assert (small["kl_cov_ratio"], large["kl_cov_ratio"]) == (2e-3, 2e-4)
    assert (small["learning_rate"], large["learning_rate"]) == (5e-7, 1e-6)
    assert yaml.safe_load(configuration("siren", "32b"))["learning_rate"] == 1e-6


def test_the_table_of_sizes_is_that_of_the_documentation():
    page = (ROOT / "docs/scaling.md").read_text()
    rows = re.findall(r"(?m)^\| (\S+b) \| (\d+) \| (\d+) \| (\w+) \| (\w+) \|", page)
    assert {row[0]: (int(row[1]), int(row[2]), *row[3:]) for row in rows} == {k: v[:4] for k, v in SIZES.items()}


def test_the_documentations_memory_is_the_computed_one():
    page = (ROOT / "docs/scaling.md").read_text()
    told = dict(re.findall(r"(?m)^\| (\d\S*b) \|.*\| (\d+)(?:, vLLM[^|]*)? \|$", page))
    computed = {}
    for size, (gpus, rows, sharding, dtype, _) in SIZES.items():
        shards = {"single_gpu": (1, 1), "zero2": (1, gpus), "zero3": (gpus, gpus)}[sharding]
        parts = training_bytes(
            QWEN[size.upper()], rows * (8192 + 1024), weight=4 if dtype == "float32" else 2, shards=shards
        )
        computed[size] = str(round(sum(parts.values()) / GIB + 24))
    assert told == computed


def test_names_are_listed_and_taken_in_any_spelling(capsys: pytest.CaptureFixture):
    assert cli.main(["init"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(shipped()) and {path.stem for path in FILES} == set(listed)
    assert configuration("KL-Cov") == configuration("kl cov") == (FOLDER / "kl_cov.yaml").read_text()


def test_a_file_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "sub" / "siren.yaml"
    assert cli.main(["init", "siren", "--size", "1.5B", "--output", str(path)]) == 0
    assert f"trl-entropy doctor {path}" in capsys.readouterr().err
    assert "Qwen2.5-Math-1.5B" in path.read_text()
    assert cli.main(["init", "siren", "--output", str(path)]) == 2  # nothing is overwritten unasked
    assert "1.5B" in path.read_text()
    assert cli.main(["init", "siren", "--output", str(path), "--force"]) == 0
    assert path.read_text() == (FOLDER / "siren.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["sirene"], "Did you mean 'siren'?"),
        (["siren", "--size", "8b"], "one of 0.5b"),
        (["example_code", "--size", "7b"], "is for its model alone"),
        (["example_code", "--gpu-memory", "24"], "is for its model alone"),
        (["siren", "--lora"], "--lora needs --gpu-memory"),
        (["siren", "--gpu-memory", "0"], "--gpu-memory 0 is not allowed"),
        (["siren", "--gpu-memory", "4", "--lora"], "--gpu-memory 4 is too little"),
        (["siren", "--gpu-memory", "24", "--size", "7b"], "Give --lora, a smaller --size"),
    ],
)
def test_bad_input(arguments: list[str], wanted: str, capsys: pytest.CaptureFixture):
    assert cli.main(["init", *arguments]) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(("memory", "lora"), [(12, True), (24, False), (24, True), (48, False), (80, True)])
@pytest.mark.parametrize("name", ["siren", "kl_cov"])
def test_one_gpu_is_filled_and_not_overfilled(name: str, memory: int, lora: bool, tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text(configuration(name, gpu_memory=memory, lora=lora))
    plan = read_plan(str(path), elsewhere=True)
    assert (plan.warnings, examine(plan).problems) == ((), [])
    assert (
        plan.completions_per_step == read_plan(str(ROOT / f"configs/{name}.yaml"), elsewhere=True).completions_per_step
    )
    (fits,) = [line for line in examine(plan).sections["Memory"] if line.startswith("That fits")]
    assert int(re.findall(r"\d+", fits)[0]) <= memory
    assert plan.model.use_peft is lora and plan.processes == 1
    assert plan.model.dtype == ("bfloat16" if lora else "float32")


def test_lora_fits_more_and_learns_faster():
    full, lora = (yaml.safe_load(configuration("siren", gpu_memory=24, lora=lora)) for lora in (False, True))
    assert (full["model_name_or_path"], lora["model_name_or_path"]) == ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-3B")
    assert (full["learning_rate"], lora["learning_rate"]) == (1e-6, 1e-5)
    assert yaml.safe_load(configuration("siren", "1.5b", gpu_memory=24, lora=True))["model_name_or_path"].endswith(
        "1.5B"
    )


def test_an_example_finds_its_data_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert Path(yaml.safe_load(configuration("example_code"))["dataset_name"]).is_file()


@pytest.mark.slow
def test_the_wheel_holds_them(tmp_path: Path):
    import zipfile

    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"trl_entropy/{path.relative_to(ROOT)}" for path in FILES} <= names
    assert "trl_entropy/configs/data/code_tasks.jsonl" in names
