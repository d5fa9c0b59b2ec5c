"""Each kind of log, written by its own writer where that is installed, comes back as the numbers that went in."""

import json
import sqlite3

import pytest

from trl_entropy.runlog import RunLogError, Series, read_run, read_runs


STEPS, ENTROPY, REWARD = [1, 2, 3], [1.0, 0.75, 0.5], [0.125, 0.25, 0.5]


def check(run):
    for key, values in (("entropy", ENTROPY), ("reward", REWARD)):
        assert run.metrics[key].steps == STEPS
        assert run.metrics[key].values == values
    assert run.problems == []


def rows(**extra):
    return [{"step": s, "entropy": h, "reward": r, **extra} for s, h, r in zip(STEPS, ENTROPY, REWARD, strict=True)]


def write_state(path, entries):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"global_step": 3, "log_history": entries}, indent=2))


def event_file(folder, values, number=1):
    """A TensorBoard file with one scalar a step, by TensorBoard's own writer."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{number}"
    with path.open("wb") as file:
        for step, value in values.items():
            summary = Summary(value=[Summary.Value(tag="entropy", simple_value=value)])
            RecordWriter(file).write(Event(step=step, summary=summary).SerializeToString())
    return path


def test_trainer_state_alone_and_in_the_newest_checkpoint(tmp_path):
    run = tmp_path / "plain"
    write_state(run / "checkpoint-3" / "trainer_state.json", rows())
    write_state(run / "checkpoint-20" / "trainer_state.json", rows())
    write_state(run / "checkpoint-4" / "trainer_state.json", [{"step": 4, "loss": 0.0}])
    found = read_run(run)
    check(found)
    assert found.source.parent.name == "checkpoint-20"  # by number, not by name
    assert found.name == read_run(run / "checkpoint-20" / "trainer_state.json").name == "plain"


def test_metrics_jsonl_comes_first(tmp_path):
    write_state(tmp_path / "trainer_state.json", [{"step": 9, "entropy": 9.0}])
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows(note="x", on=True, gap=None))
    )
    run = read_run(tmp_path)
    check(run)
    assert set(run.metrics) == {"entropy", "reward"}  # text, bools and nulls are no metrics


def test_csv_with_a_column_for_each_metric(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step,entropy,reward\n" + "".join(f"{r['step']},{r['entropy']},{r['reward']}\n" for r in rows()))
    check(read_run(path))


def test_wandbs_csv_export_holds_several_runs(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(
        '"Step","a - train/entropy","a - train/entropy__MIN","a - train/entropy__MAX","b - train/entropy"\n'
        '"1","1.0","0.9","1.1","2.0"\n"2","0.5","0.4","0.6",""\n'
    )
    a, b = read_runs(path)
    assert (a.name, a.metrics["entropy"].values, list(a.metrics)) == ("a", [1.0, 0.5], ["entropy"])
    assert (b.name, b.metrics["entropy"].steps) == ("b", [1])
    with pytest.raises(RunLogError, match="2 runs"):
        read_run(path)


def test_tensorboards_csv_export_takes_its_metric_from_the_files_name(tmp_path):
    path = tmp_path / "run-x-tag-train_entropy.csv"
    path.write_text("Wall time,Step,Value\n1.5,1,1.0\n2.5,2,0.5\n")
    assert read_run(path).metrics["entropy"].values == [1.0, 0.5]


def test_tensorboard_event_files_are_merged_over_resumes(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="the tensorboard package is not installed")
    for part, name in ((rows()[:2], ".a"), (rows()[2:], ".b")):
        with tensorboard.SummaryWriter(str(tmp_path / "runs"), filename_suffix=name) as writer:
            writer.add_text("args", "{}")
            for row in part:
                writer.add_scalar("train/entropy", row["entropy"], row["step"])
                writer.add_scalar("train/reward", row["reward"], row["step"], new_style=True)
    check(read_run(tmp_path))


def test_trackios_database(tmp_path):
    with sqlite3.connect(tmp_path / "project.db") as database:
        database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_name TEXT, step INTEGER, metrics TEXT)")
        for row in rows():
            step = row.pop("step")
            line = json.dumps({f"train/{k}": v for k, v in row.items()}).encode()  # trackio stores bytes
            database.execute("INSERT INTO metrics (run_name, step, metrics) VALUES ('a', ?, ?)", (step, line))
    run = read_run(tmp_path / "project.db")
    check(run)
    assert run.name == "a"


def test_trackios_entries_stand_at_the_trainers_step(tmp_path):
    """Training and evaluation of one step are two entries, which trackio counts as two steps."""
    entries = [(1, {"train/entropy": 1.0}, 10), (2, {"eval/reward": 0.5}, 10), (3, {"train/entropy": 0.5}, 20)]
    with sqlite3.connect(tmp_path / "project.db") as database:
        database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_name TEXT, step INTEGER, metrics TEXT)")
        for own, figures, step in entries:
            line = json.dumps({**figures, "train/global_step": step})
            database.execute("INSERT INTO metrics (run_name, step, metrics) VALUES ('a', ?, ?)", (own, line))
    found = read_run(tmp_path / "project.db").metrics
    assert (found["entropy"].steps, found["eval_reward"].steps) == ([10, 20], [10])


def test_a_folder_of_run_folders_is_each_of_them(tmp_path):
    for name in ("siren", "plain"):
        write_state(tmp_path / name / "trainer_state.json", rows())
    (tmp_path / "notes").mkdir()
    assert [run.name for run in read_runs(tmp_path)] == ["plain", "siren"]


def test_a_folders_other_files_are_read_with_it(tmp_path):
    write_state(tmp_path / "trainer_state.json", rows())
    (tmp_path / "settings.json").write_text('{"method": "siren", "seed": 3}')
    (tmp_path / "token_map.jsonl").write_text('{"step": 1, "tokens": ["a"]}\n{"tokens": []}\n')
    (tmp_path / "evaluation" / "math").mkdir(parents=True)
    (tmp_path / "evaluation" / "math" / "results.json").write_text('{"figures": []}')
    (tmp_path / "entropy_reward.jsonl").write_text('{"step": 1, "entropy": 0.9, "reward": 0.2, "source": "eval"}\n')
    run = read_run(tmp_path)
    assert run.method == "siren"
    assert run.token_map == [{"step": 1, "tokens": ["a"]}]
    assert run.evaluations == [{"figures": []}]
    assert run.metrics["law_pairs/reward"].values == [0.2]
    assert ["skipped" in str(problem) for problem in run.problems] == [True]


def test_a_step_logged_twice_keeps_its_last_value_and_steps_are_sorted(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step": 2, "entropy": 0.5}\n{"step": 1, "entropy": 1.0}\n{"step": 2, "entropy": 0.25}\n')
    series = read_run(path).metrics["entropy"]
    assert (series.steps, series.values) == ([1, 2], [1.0, 0.25])


def test_rows_that_a_resume_abandoned_are_left_out(tmp_path):
    """Trained to step 5, killed, resumed from step 2: the rows of 3 to 5 that it has not are those written first."""
    first = [{"step": i, "entropy": 1.0, "cov/max": 9.0} for i in range(1, 6)]
    second = [{"step": i, "entropy": 0.5} for i in (3, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in first + second))
    tokens = [{"step": step, "tokens": [str(i)]} for i, step in enumerate((1, 5, 3))]
    (tmp_path / "token_map.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tokens))
    pairs = [{"step": s, "entropy": 1, "reward": s, "source": "heldout"} for s in (0, 4, 2)]
    (tmp_path / "entropy_reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    run = read_run(tmp_path)
    assert (run.metrics["entropy"].steps, run.metrics["entropy"].values) == ([1, 2, 3, 4], [1, 1, 0.5, 0.5])
    assert run.metrics["cov/max"].steps == [1, 2]
    assert run.resumed_at == [3]
    assert [row["step"] for row in run.token_map] == [1, 3]
    assert run.metrics["law_pairs/reward"].steps == [0, 2]
    assert run.problems == []


def test_an_evaluations_points_may_come_in_any_order(tmp_path):
    """`--model RUN/checkpoint-*` expands by name: 100 before 20, and neither was abandoned."""
    pairs = [{"step": s, "entropy": 1, "reward": s, "source": "eval"} for s in (100, 20)]
    (tmp_path / "entropy_reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    assert read_run(tmp_path).metrics["law_pairs/reward"].steps == [20, 100]


def test_event_files_of_a_resume_leave_out_what_it_abandoned(tmp_path):
    for number, steps, value in ((9, (1, 2, 3), 1.0), (10, (2, 3), 0.5)):  # by time, not by name
        event_file(tmp_path / f"start-{number}", dict.fromkeys(steps, value), number).rename(
            tmp_path / f"events.out.tfevents.{number}"
        )
    run = read_run(tmp_path)
    assert (run.metrics["entropy"].steps, run.metrics["entropy"].values) == ([1, 2, 3], [1.0, 0.5, 0.5])
    assert run.resumed_at == [2]


def test_other_trainers_logs(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"step": 1, "data": {"actor/entropy": 1.0, "critic": {"score": 0.5}}, "train": {"entropy": 2.0}}\n'
        '{"global_step/max_steps": "2/60", "train": {"entropy": 3}}\n{"current_steps": 2.5, "train": {"entropy": 4}}\n'
    )
    run = read_run(path)
    assert (run.metrics["actor/entropy"].values, run.metrics["critic/score"].values) == ([1.0], [0.5])
    assert run.metrics["entropy"] is run.metrics["train/entropy"] is run.metrics.get("train/entropy")
    assert (run.metrics["entropy"].steps, run.metrics["entropy"].values) == ([1, 2, 2.5], [2, 3, 4])
    assert "train/entropy" in run.metrics
    assert "train/other" not in run.metrics
    table = tmp_path / "log.csv"
    table.write_text("Training step;entropy\n0,5;1,25\n1;1.5\n")
    assert read_run(table).metrics["entropy"] == Series([0.5, 1], [1.25, 1.5])


def test_a_lone_surrogate_in_a_metrics_name_can_be_written(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss\\ud800": 0.5, "run": "r\\udc00"}\n')
    run = read_run(path)
    assert (run.name, list(run.metrics)) == ("r?", ["loss?"])


def test_runs_inside_folders_of_folders_are_found_once_each(tmp_path):
    for place in ("a/plain", "a/b/siren", "c/siren", "c/siren/again"):
        write_state(tmp_path / place / "trainer_state.json", rows())
        write_state(tmp_path / place / "checkpoint-3" / "trainer_state.json", rows())
    evaluation = tmp_path / "c/siren/evaluation/math"
    evaluation.mkdir(parents=True)
    (evaluation / "entropy_reward.jsonl").write_text('{"step": 1, "entropy": 1, "reward": 0}\n')
    assert [run.name for run in read_runs(tmp_path)] == ["a/b/siren", "plain", "c/siren", "again"]
    assert read_run(tmp_path / "c/siren").name == "siren"


def test_pairs_are_the_steps_that_both_were_logged_at(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"step": 1, "entropy": 1.0}\n{"step": 2, "entropy": 0.5, "reward": 0.1}\n{"step": 3, "reward": 1}\n'
    )
    run = read_run(path)
    assert run.pairs("entropy", "reward") == ([2], [0.5], [0.1])
    with pytest.raises(RunLogError, match=r"'loss' was never logged. Logged: entropy, reward"):
        run.pairs("entropy", "loss")


def test_pairs_of_several_benchmarks_are_not_mixed(tmp_path):
    path = tmp_path / "entropy_reward.jsonl"
    rows_of = [{"step": 1, "entropy": 0.9, "reward": r, "benchmark": b} for b, r in (("amc", 0.1), ("math", 0.7))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of))
    assert [(run.name, run.metrics["reward"].values) for run in read_runs(path)] == [("amc", [0.1]), ("math", [0.7])]
    write_state(tmp_path / "trainer_state.json", rows())
    run = read_run(tmp_path)
    assert run.metrics["law_pairs/reward"].values == [0.1]
    assert "several runs or benchmarks (amc, math)" in str(run.problems[0])
