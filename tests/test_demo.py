"""The demo: claims only where intervals carry them, arguments refused before anything starts, a small run of it."""

import json

import numpy as np
import pytest
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.study.test_results import PLAN
from trl_entropy.cli import main, make_parser
from trl_entropy.demo.demo_run import STUDY, demo_study
from trl_entropy.demo.reading import reading, verdict
from trl_entropy.demo.table import results_table
from trl_entropy.plots.demo_picture import plot_demo
from trl_entropy.runlog import read_runs
from trl_entropy.study.compared import compared
from trl_entropy.study.matrix import read_study
from trl_entropy.study.outcome import Outcome, encode
from trl_entropy.study.run_arguments import check


def outcome(method, counts, seed=0):
    """A run measured after 10 and 20 batches with (200,) right samples of 16 each time."""
    batches = [0] if method == "start" else [10, 20]
    row = {"split": "heldout", "entropy": 0.5, "vote": encode(np.full(200, 60)), "distinct": encode(np.full(200, 2))}
    rows = [{**row, "batch": batch, "correct": encode(count)} for batch, count in zip(batches, counts, strict=True)]
    curves = {"batch": [10, 20], "completions/mean_length": [9.0, 9.0], "reward": [0.3, 0.4], "entropy": [0.5, 0.4]}
    plan = {**PLAN, "method": method, "seed": seed, "batches": batches[-1]}
    return Outcome({"plan": plan, "seconds": 36.0, "evaluations": rows, "curves": curves})


def results(solved):
    """Plain solves 4 of 16 on half of the problems and none on the others; SIREN on a share `solved` of them."""
    half, own = np.repeat([4, 0], 100), np.where(np.arange(200) < 200 * solved, 4, 0)
    rising, start = np.where(np.arange(200) < 90, 4, 0), np.where(np.arange(200) < 80, 4, 0)
    runs = [outcome("start", [start]), outcome("plain", [rising, half]), outcome("siren", [rising, own])]
    return compared(runs, "countdown", "heldout")


@pytest.mark.parametrize(("solved", "claim"), [(0.7, "a higher"), (0.3, "a lower"), (0.505, "no clear difference")])
def test_the_reading_claims_what_the_interval_carries(solved, claim):
    sentences = reading(results(solved))
    ends = next(sentence for sentence in sentences if sentence.startswith("SIREN ends") and "pass@16" in sentence)
    assert claim in ends and f"({solved - 0.5:+.3f}" in ends
    assert "one seed" in sentences[-1]


def test_a_difference_without_an_interval_claims_nothing():
    assert "no known difference" in verdict("pass@16", {"value": 0.3, "low": None, "high": None}, "GRPO")


def test_the_table_fits_a_terminal_of_eighty_columns_and_the_picture_is_drawn(tmp_path):
    found = results(0.6)
    console = Console(width=80, record=True, file=(tmp_path / "table").open("w"))
    console.print(results_table(found))
    text = console.export_text()
    assert "…" not in text and "SIREN" in text and "0.60" in text
    assert [path.suffix for path in plot_demo(found, tmp_path / "demo")] == [".png", ".svg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "plain", "sirene"], ("plain, maxrl, bonus, siren, clip_cov, kl_cov", "sirene")),
        (["--methods", "plain", "plain"], ("methods", "only once")),
        (["--seeds", "1", "1"], ("seeds", "only once")),
        (["--batches", "0"], ("batches", "0")),
        (["--batches", "3"], ("10 evaluations", "3 batches")),
        (["--split", "test"], ("warmup, train, selection, heldout", "test")),
        (["--puzzles", "1"], ("problems", "1")),
        (["--prompts-per-batch", "3"], ("prompts_per_batch", "multiple", "3")),
        (["--jobs", "0"], ("--jobs", "0")),
        (["--warmup-steps", "1"], ("at least 2 steps",)),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(arguments, words, tmp_path, capsys):
    assert main(["demo", "--output-dir", str(tmp_path / "out"), *arguments]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert all(word in error for word in words), error
    assert not (tmp_path / "out").exists()


def test_the_commands_defaults_are_the_studys(tmp_path):
    given = vars(make_parser().parse_args(["demo"]))
    plan = read_study(STUDY).tasks["countdown"]
    assert (given["batches"], given["evaluations"], given["prompts_per_batch"]) == (200, 10, 48)
    assert (plan.batches, plan.evaluations, plan.prompts_per_batch, plan.problems) == (200, 10, 48, given["puzzles"])
    assert plan.splits == (given["split"],)
    study = demo_study(tmp_path, given["methods"], given["seeds"])
    assert [run.name for run in study.runs()] == ["plain-seed0", "maxrl-seed0"]
    check(read_study(STUDY))


@pytest.mark.slow
def test_a_small_demo_from_end_to_end_twice_the_same(tmp_path, capsys):
    arguments = ["--warmup-steps", "30", "--batches", "2", "--evaluations", "2", "--puzzles", "12"]
    arguments += [
        "--methods",
        "plain",
        "siren",
        "--prompts-per-batch",
        "4",
        "--jobs",
        "2",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    for name in ("first", "second"):
        assert main(["demo", *arguments, "--output-dir", str(tmp_path / name)]) == 0
    printed = capsys.readouterr().out
    first, second = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("first", "second"))
    for found in (first, second):
        for method in found["methods"].values():
            del method["hours"]
            for curves in method["curves"]:
                del curves["step_time"]
    assert first == second
    assert [point["batch"] for point in first["methods"]["siren"]["path"]] == [0, 1, 2]

    folder = tmp_path / "first"
    for file in ("demo.png", "results.json", "table.txt"):
        assert f"{folder / file}" in printed.replace("\n", "")
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "SIREN" in (folder / "table.txt").read_text()

    runs = {run.name: run for run in read_runs(folder / "countdown")}  # what `trl-entropy report` reads
    assert runs["plain-seed0"].method == "plain" and runs["siren-seed0"].method == "siren"
    assert runs["siren-seed0"].token_map[0]["kept"] and len(runs["plain-seed0"].metrics["entropy"]) == 4

    model = folder / "countdown" / "siren-seed0"
    card = (model / "README.md").read_text()
    assert "2509.25133" in card and "siren_coef" in card and "It is no chat model" in card
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer("3 5 2 -> 17 :", return_tensors="pt")
    completion = AutoModelForCausalLM.from_pretrained(model).generate(**prompt, max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(completion[0]).startswith("3 5 2 -> 17 :")
