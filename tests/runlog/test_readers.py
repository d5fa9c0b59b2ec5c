"""Each kind of log, written by its own writer where that is installed, comes back as the figures that went in."""

import json
import sqlite3
import struct

import pytest

from trl_entropy.runlog import RunLogError, read_run, read_runs


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
    assert set(run.metrics) == {"entropy", "reward"}  # text, bools and nulls are no figures


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


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def wandb_file(entries, junk=0):
    """A W&B offline file by its layout; `junk` makes records span blocks."""
    records = []
    for i, entry in enumerate(entries):
        items = b"".join(field(1, field(2, k.encode()) + field(16, json.dumps(v).encode())) for k, v in entry.items())
        items += field(1, field(1, b"note") + field(16, json.dumps("x" * junk).encode()))
        records.append(field(2, items + field(2, b"\x08" + varint(i))))
    raw = b":W&B\xbe\xe1\x00"
    for record in records:
        first = True
        while True:
            left = 32768 - len(raw) % 32768
            if left < 7:
                raw += bytes(left)
                continue
            part, record = record[: left - 7], record[left - 7 :]
            kind = (1 if first else 4) if not record else (2 if first else 3)
            raw += struct.pack("<IHB", 0, len(part), kind) + part
            first = False
            if not record:
                break
    return raw


@pytest.mark.parametrize("junk", [0, 50_000])
def test_wandbs_offline_file(tmp_path, junk):
    entries = [
        {"train/global_step": r["step"], "train/entropy": r["entropy"], "train/reward": r["reward"]} for r in rows()
    ]
    path = tmp_path / "run-x.wandb"
    path.write_bytes(wandb_file(entries, junk))
    check(read_run(path))


def test_an_image_in_wandbs_offline_file_is_no_figure(tmp_path):
    image = {"_type": "image-file", "width": 624, "height": 408, "path": "media/images/law.png"}
    entry = {"train/entropy": 1.0, "figures/lawful": 2.0, **{f"figures/law/{key}": v for key, v in image.items()}}
    path = tmp_path / "run-x.wandb"
    path.write_bytes(wandb_file([entry]))
    assert set(read_run(path).metrics) == {"entropy", "figures/lawful"}


def test_a_wandb_record_that_leaves_a_block_with_less_than_a_header(tmp_path):
    """LevelDB pads the last bytes of a block with zeros; some of these sizes leave 1 to 6."""
    path = tmp_path / "run-x.wandb"
    for junk in range(32600, 32720, 3):
        path.write_bytes(wandb_file([{"entropy": 1.0}, {"entropy": 0.5}], junk))
        run = read_run(path)
        assert (run.metrics["entropy"].values, run.problems) == ([1.0, 0.5], [])


def test_a_folder_of_run_folders_is_each_of_them(tmp_path):
    for name in ("siren", "plain"):
        write_state(tmp_path / name / "trainer_state.json", rows())
    (tmp_path / "notes").mkdir()
    assert [run.name for run in read_runs(tmp_path)] == ["plain", "siren"]


def test_a_folders_other_files_are_read_with_it(tmp_path):
    write_state(tmp_path / "trainer_state.json", rows())
    (tmp_path / "settings.json").write_text('{"method": "siren", "seed": 3}')
    (tmp_path / "token_map.jsonl").write_text('{"step": 1, "tokens": ["a"]}\n{"tokens": []}\n')
    (tmp_path / "entropy_dynamics.jsonl").write_text('{"step": 1, "covariance": 0.5}\n')
    (tmp_path / "entropy_reward.jsonl").write_text('{"step": 1, "entropy": 0.9, "reward": 0.2, "source": "eval"}\n')
    run = read_run(tmp_path)
    assert run.method == "siren"
    assert run.token_map == [{"step": 1, "tokens": ["a"]}]
    assert run.dynamics[0]["covariance"] == 0.5
    assert run.metrics["law_pairs/reward"].values == [0.2]
    assert ["skipped" in str(problem) for problem in run.problems] == [True]


def test_a_step_logged_twice_keeps_its_last_value_and_steps_are_sorted(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step": 2, "entropy": 0.5}\n{"step": 1, "entropy": 1.0}\n{"step": 2, "entropy": 0.25}\n')
    series = read_run(path).metrics["entropy"]
    assert (series.steps, series.values) == ([1, 2], [1.0, 0.25])


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
