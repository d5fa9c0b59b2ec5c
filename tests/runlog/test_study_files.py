"""A study's own measurements along training, in the page's metrics."""

import json
from pathlib import Path

import pytest

from tests.report.runs import write_lines
from trl_entropy.report import build_report
from trl_entropy.report.gallery import of_most_samples
from trl_entropy.runlog import read_run, read_runs
from trl_entropy.runlog.groups import group_runs, over_seeds


def row(batch: int, correct: str, split: str = "heldout") -> dict:
    return {"batch": batch, "split": split, "correct": correct, "distinct": "0" * len(correct), "vote": "00"}


def make_run(folder: Path, seed: int, rows: list[dict], warmup: int = 5) -> Path:
    folder.mkdir(parents=True)
    arguments = {"steps_per_generation": 2, "num_iterations": 3, "gradient_accumulation_steps": 1}
    plan = {"warmup": {"steps": warmup}, "arguments": arguments}
    (folder / "run.json").write_text(json.dumps({"plan": plan}))
    write_lines(folder / "evaluations.jsonl", rows)
    if rows[0]["batch"]:
        write_lines(folder / "metrics.jsonl", [{"step": step, "entropy": 1.0, "reward": 0.1} for step in (1, 120)])
        settings = {"methods": [{"key": "siren", "name": "SIREN"}], "arguments": {"seed": seed, "siren_coef": 1}}
        (folder / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    make_run(tmp_path / "start", 0, [row(0, "80")])  # 8 and 0 of 16
    make_run(tmp_path / "siren-seed0", 0, [row(10, "g0"), row(20, "4g", "selection"), row(20, "g4")])
    make_run(tmp_path / "siren-seed1", 1, [row(10, "00"), row(20, "04")])
    return tmp_path


def test_by_hand(study):
    metrics = read_run(study / "siren-seed0").metrics
    # batches of 2 * 3 optimizer steps; the digits count in base 62: g is 16
    assert metrics["heldout/pass_at_1"].steps == [0, 60, 120]
    assert metrics["heldout/pass_at_1"].values == [0.25, 0.5, 0.625]
    assert metrics["heldout/pass_at_16"].values == [0.5, 0.5, 1.0]
    # 1 - C(8, 2) / C(16, 2), and nothing of the second problem
    assert metrics["heldout/pass_at_2"].values[0] == pytest.approx((1 - 28 / 120) / 2)


def test_the_median_over_seeds_is_drawn(study):
    runs = read_runs(study)
    assert [run.problems for run in runs] == [[], []]
    [group] = groups = group_runs(runs)
    assert of_most_samples(groups) == [("heldout/pass_at_16", "Held-out pass@16", "share")]
    band = over_seeds(group, "heldout/pass_at_16")
    assert (band.runs, band.steps.tolist(), band.middle.tolist()) == (2, [0, 60, 120], [0.5, 0.25, 0.75])
    page = build_report(runs)
    assert "Held-out pass@16" in page and "Held-out pass@1<" in page


def test_another_start_is_not_this_runs(study):
    make_run(study / "other" / "start", 0, [row(0, "80")])
    run = make_run(study / "other" / "siren-seed0", 0, [row(10, "g0")], warmup=7)
    assert read_run(run).metrics["heldout/pass_at_1"].steps == [60]


@pytest.mark.parametrize("damage", [{"batch": 1}, {"batch": "x", "split": "heldout", "correct": "-"}, {"correct": 1}])
def test_files_of_another_kind_are_a_problem_and_the_rest_is_read(study, damage):
    write_lines(study / "siren-seed0" / "evaluations.jsonl", [damage])
    run = read_run(study / "siren-seed0")
    assert [problem.path.name for problem in run.problems] == ["evaluations.jsonl"]
    assert "entropy" in run.metrics
