"""Which folders are runs, which hold runs, and which files of theirs are read."""

import json

import pytest

from trl_entropy.law.points import law_of_run
from trl_entropy.runlog import RunLogError, read_run, read_runs

from .test_readers import event_file, rows, write_state


def jsonl(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.mark.parametrize("place", ["", "runs/Nov21_host", "runs"])
def test_runs_that_log_to_tensorboard_are_not_merged_by_their_parent(tmp_path, place):
    for name, value in (("plain", 1.0), ("siren", 2.0)):
        event_file(tmp_path / name / place, {1: value}, 1)
        event_file(tmp_path / name / place, {2: value / 2}, 2)
    found = {run.name: run.metrics["entropy"].values for run in read_runs(tmp_path)}
    assert found == {"plain": [1.0, 0.5], "siren": [2.0, 1.0]}
    assert read_run(tmp_path / "plain").metrics["entropy"].steps == [1, 2]


def test_a_runs_own_folders_are_no_runs(tmp_path):
    event_file(tmp_path / "runs" / "Nov21_host", {1: 1.0}, 1)
    event_file(tmp_path / "runs" / "Nov22_host", {2: 0.5}, 2)  # a resume
    write_state(tmp_path / "checkpoint-2" / "trainer_state.json", [{"step": 2, "entropy": 0.25}])
    run = read_run(tmp_path)
    assert (run.name, run.metrics["entropy"].values) == (tmp_path.name, [0.25])  # the trainer's state comes first
    (tmp_path / "checkpoint-2" / "trainer_state.json").unlink()
    assert read_run(tmp_path).metrics["entropy"].values == [1.0, 0.5]


def test_event_files_of_runs_below_the_folder_of_logs_are_left_to_them(tmp_path):
    event_file(tmp_path / "runs" / "Nov21_host", {1: 1.0}, 1)
    event_file(tmp_path / "runs" / "other", {2: 0.5}, 2)
    jsonl(tmp_path / "runs" / "other" / "metrics.jsonl", rows())
    assert read_run(tmp_path).metrics["entropy"].steps == [1]


def test_stray_files_do_not_hide_the_runs_below(tmp_path):
    jsonl(tmp_path / "notes.jsonl", [{"note": "x"}])
    jsonl(tmp_path / "table.jsonl", [{"step": 1, "entropy": 9.0}])
    (tmp_path / "table.csv").write_text("step,entropy\n1,9.0\n")
    for name in ("plain", "siren"):
        jsonl(tmp_path / name / "metrics.jsonl", rows())
    jsonl(tmp_path / "data" / "train.jsonl", [{"question": "x"}])  # no log
    assert [run.name for run in read_runs(tmp_path)] == ["plain", "siren"]


def test_one_damaged_run_does_not_hide_the_others(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "metrics.jsonl").write_text("")
    jsonl(tmp_path / "plain" / "metrics.jsonl", rows())
    [run] = read_runs(tmp_path)
    assert run.name == "plain"
    assert "broken: nothing in this folder could be read" in str(run.problems[0])
    (tmp_path / "plain" / "metrics.jsonl").write_text("")
    with pytest.raises(RunLogError, match=r"broken.*plain"):
        read_runs(tmp_path)


@pytest.mark.parametrize("name", ["train_log.jsonl", "history.jsonl"])
def test_any_jsonl_with_steps_is_a_runs_log(tmp_path, name):
    jsonl(tmp_path / "run" / name, [{"note": "first"}, *rows()])
    jsonl(tmp_path / "run" / "samples.jsonl", [{"step": 1, "entropy": 9.0}])
    assert read_run(tmp_path / "run").metrics["entropy"].values == [1.0, 0.75, 0.5]
    assert [run.name for run in read_runs(tmp_path)] == ["run"]
    jsonl(tmp_path / "run" / "metrics.jsonl", [{"step": 1, "entropy": 2.0}])
    assert read_run(tmp_path / "run").metrics["entropy"].values == [2.0]


def test_several_runs_in_a_folders_one_file_stay_several(tmp_path):
    (tmp_path / "export.csv").write_text('"Step","a - train/entropy","b - train/entropy"\n"1","1.0","2.0"\n')
    assert [(run.name, run.metrics["entropy"].values) for run in read_runs(tmp_path)] == [("a", [1.0]), ("b", [2.0])]


def test_a_trackio_database_in_a_folder_is_read(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "project.db") as database:
        database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_name TEXT, step INTEGER, metrics TEXT)")
        for name, step in (("a", 1), ("b", 1), ("b", None)):
            line = json.dumps({"entropy": 0.5})
            database.execute("INSERT INTO metrics (run_name, step, metrics) VALUES (?, ?, ?)", (name, step, line))
    a, b = read_runs(tmp_path)
    assert (a.name, b.name, b.metrics["entropy"].steps) == ("a", "b", [1])
    assert "row 3 has no step" in str(a.problems[0])


def test_pairs_that_are_too_few_say_so_and_those_alone_are_used(tmp_path):
    jsonl(tmp_path / "entropy_reward.jsonl", rows(source="heldout"))
    law = law_of_run(read_run(tmp_path))
    assert (law.fit.points, law.source) == (
        3, "law_pairs/entropy and law_pairs/reward (no entropy and no reward in the training log)",
    )  # fmt: skip
    jsonl(tmp_path / "metrics.jsonl", [{**row, "entropy": row["entropy"] / 2} for row in rows()])
    law = law_of_run(read_run(tmp_path))
    assert law.entropy[0] == 0.5
    assert law.source == "entropy and reward (entropy_reward.jsonl has 3 points of the 8 needed)"
