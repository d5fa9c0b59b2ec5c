"""Damaged, empty, truncated and foreign files: a message that names file and line, and the rest is still read."""

import json

import pytest

from trl_entropy.runlog import RunLogError, read_run, read_runs
from trl_entropy.runlog.groups import group_runs

from .test_readers import event_file, rows, write_state


def test_a_jsonl_line_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "entropy": 1.0}\n{"step": 2, "entr')
    run = read_run(tmp_path)
    assert run.metrics["entropy"].values == [1.0]
    assert [str(problem) for problem in run.problems] == [f"{path}:2: the line is cut off; line skipped"]


def test_jsonl_with_garbage_lists_and_no_step(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        'nonsense\n[1, 2]\n{"entropy": 1.0}\n{"step": true}\n{"step": 1e300}\n{"step": 5, "entropy": NaN}\n'
                    '{"step": 6, "entropy": 0.5}\n')  # fmt: skip
    run = read_run(path)
    assert run.metrics["entropy"].steps == [6]
    assert [problem.line for problem in run.problems] == [1, 2, 3, 4, 5]
    assert "not JSON" in run.problems[0].message
    assert "a JSON list, not an object" in run.problems[1].message
    assert "no step" in run.problems[2].message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trainer_state.json", "", "trainer_state.json: the file is empty"),
        ("trainer_state.json", "{", r"trainer_state.json:1: not JSON"),
        ("trainer_state.json", '{"a": 1}', "no list named 'log_history'"),
        ("trainer_state.json", '{"log_history": [{"loss": 1}]}', "no entry has a step"),
        ("x.jsonl", "\n\n", "the file is empty"),
        ("x.jsonl", "hello\n", r"no line holds a JSON object. First problem: .*x.jsonl:1: not JSON"),
        ("x.csv", "a,b\n1,2\n", r"x.csv:1: no column named step. Found: 'a', 'b'"),
        ("x.csv", "step,b\n", "no row has a step"),
        ("events.out.tfevents.1", "", "the file is empty"),
        ("events.out.tfevents.1", "not a record of any kind", "no scalar in this TensorBoard file"),
        ("x.wandb", ":W&B", "Of W&B's offline file, export its charts as CSV"),
        ("x.db", "not sqlite, but long enough to be looked at" * 5, "not a trackio database"),
        ("x.txt", "hello", "unknown kind of file. Accepted: a run's folder"),
    ],
)
def test_files_of_which_nothing_can_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(RunLogError, match=message):
        read_run(path)


def test_binary_and_deeply_nested_files(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\x00\x01\x02")
    with pytest.raises(RunLogError, match="binary file"):
        read_run(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("[" * 100_000 + '\n{"step": 1, "entropy": 1}\n')
    run = read_run(tmp_path / "b.jsonl")
    assert "nested too deeply" in run.problems[0].message
    assert run.metrics["entropy"].values == [1.0]


def test_bytes_that_are_not_utf8_are_named_and_the_rest_is_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"step": 1, "entropy": 1}\n{"step": 2, "entropy": 2, "note": "\xff"}\n')
    run = read_run(path)
    assert run.metrics["entropy"].values == [1.0, 2.0]
    assert str(run.problems[0]).startswith(f"{path}:2: not UTF-8")


def test_csv_rows_that_are_short_long_or_no_numbers(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("step,entropy,reward\n1,1.0,0.1\nx,1,1\n2,oops,0.2\n3,0.5\n4,1,2,3\n5,0.25,nan\n\n")
    run = read_run(path)
    assert run.metrics["entropy"].steps == [1, 3, 5]
    assert run.metrics["reward"].steps == [1, 2]
    assert [problem.line for problem in run.problems] == [3, 4, 5, 6]
    assert "'oops' in 'entropy' is no number" in run.problems[1].message


def test_an_event_file_whose_writer_was_killed(tmp_path):
    path = event_file(tmp_path, {1: 1.0, 2: 0.5})
    path.write_bytes(path.read_bytes()[:-6])
    run = read_run(path)
    assert (run.metrics["entropy"].steps, run.metrics["entropy"].values) == ([1], [1.0])


def test_a_damaged_best_file_falls_to_the_next_and_says_so(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    write_state(tmp_path / "trainer_state.json", rows())
    (tmp_path / "settings.json").write_text("[]")
    (tmp_path / "token_map.jsonl").write_text("\x00")
    run = read_run(tmp_path)
    assert run.source.name == "trainer_state.json"
    assert [problem.path.name for problem in run.problems] == ["metrics.jsonl", "token_map.jsonl", "settings.json"]


def test_missing_and_empty_places(tmp_path):
    with pytest.raises(RunLogError, match="no such file or folder"):
        read_runs(tmp_path / "nothing")
    with pytest.raises(RunLogError, match="no log of a run in this folder"):
        read_runs(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(RunLogError, match=r"nothing in this folder could be read.*metrics.jsonl: the file is empty"):
        read_runs(tmp_path)


def test_every_prefix_of_every_kind_is_read_or_refused_with_a_message(tmp_path):
    """Whatever length a file was cut to: a run or a RunLogError that names it, never another exception."""
    write_state(tmp_path / "trainer_state.json", rows())
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    (tmp_path / "x.csv").write_text("step,entropy\n1,1.0\n2,0.5\n")
    event_file(tmp_path, {1: 1.0, 2: 0.5})
    for path in list(tmp_path.iterdir()):
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            try:
                assert read_run(path).metrics is not None
            except RunLogError as error:
                assert path.name in str(error)  # noqa: PT017


HUGE = "1" + "0" * 400
LONG = "1" * 5000


def test_integers_that_no_float_can_hold(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        f'{{"step": 1, "entropy": {HUGE}, "reward": 0.5}}\n{{"step": {HUGE}, "reward": 1}}\n'
        f'{{"step": 2, "entropy": {LONG}}}\n{{"step": 3, "entropy": 1.0}}\n{{"step": 4, "entropy": {LONG}}}'
    )
    run = read_run(path)
    assert (run.metrics["entropy"].steps, run.metrics["reward"].steps) == ([3], [1])
    assert sorted((problem.line, problem.message) for problem in run.problems) == [
        (2, "no step in this entry; skipped"),
        (3, "not JSON (an integer of thousands of digits); line skipped"),
        (5, "not JSON (an integer of thousands of digits); line skipped"),
    ]


def test_long_integers_in_settings(tmp_path):
    write_state(tmp_path / "trainer_state.json", rows())
    (tmp_path / "settings.json").write_text(f'{{"seed": {LONG}}}')
    assert "an integer of thousands of digits" in read_run(tmp_path).problems[0].message


def test_steps_that_are_none(tmp_path):
    (tmp_path / "x.csv").write_text("step,entropy\n1e300,1.0\n2,0.5\n")
    run = read_run(tmp_path / "x.csv")
    assert run.metrics["entropy"].steps == [2]
    assert [problem.line for problem in run.problems] == [2]


@pytest.mark.parametrize("arguments", ["null", "[1]", '"x"', "3"])
def test_settings_whose_arguments_are_no_object(tmp_path, arguments):
    runs = []
    for name in "ab":
        write_state(tmp_path / name / "trainer_state.json", rows())
        (tmp_path / name / "settings.json").write_text(f'{{"method": "siren", "arguments": {arguments}}}')
        runs.append(read_run(tmp_path / name))
    assert [group.label for group in group_runs(runs)] == ["SIREN (a)", "SIREN (b)"]
