"""Problems by name, from files with the columns that the published data sets have."""

import csv
import json

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from trl_entropy.evaluate.benchmarks import BENCHMARKS, BOXED, Benchmark, benchmark_named
from trl_entropy.evaluate.problems import load_problems
from trl_entropy.tasks import puzzles


ROWS = {
    "aime24": {"id": 60, "problem": "P", "solution": "S", "answer": "204", "url": "u", "year": "2024"},
    "aime25": {"problem": "P", "answer": "70", "id": "0"},
    "amc23": {"id": 0, "question": "P", "answer": 27.0, "url": "u"},
    "math500": {
        "problem": "P",
        "solution": "S",
        "answer": "p - q",
        "subject": "s",
        "level": 2,
        "unique_id": "t/1.json",
    },
    "olympiadbench": {"id": 1606, "question": "P", "final_answer": ["2", "-3"], "is_multiple_answer": True},
    "minerva": {"question": "P", "answer": "4.5e33", "solution": "S"},
    "omni_math": {"domain": ["a"], "difficulty": 8.0, "problem": "P", "solution": "S", "answer": "$2^{u-2}$"},
    "gsm8k": {"question": "P", "answer": "so 9 * 2 = 18\n#### 18"},
}
GOLDS = {"amc23": "27.0", "olympiadbench": "2, -3", "omni_math": "2^{u-2}", "gsm8k": "18"}


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "countdown"])
def test_a_benchmark_reads_its_published_columns(name, monkeypatch, tmp_path):
    benchmark, asked = benchmark_named(name), {}

    def load_dataset(hub_id, config, split):
        asked.update(hub_id=hub_id, config=config, split=split)
        return datasets.Dataset.from_list([ROWS[name]] * 3)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    problems = load_problems(benchmark)
    assert asked == {"hub_id": benchmark.hub_id, "config": benchmark.config, "split": benchmark.split}
    assert [p.gold for p in problems] == [GOLDS.get(name, ROWS[name].get("answer"))] * 3
    assert problems[0].prompt == "P\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert len({p.id for p in problems}) == 3
    from_file = load_problems(benchmark, write(tmp_path / "data.parquet", [ROWS[name]] * 3), limit=2)
    assert from_file == problems[:2]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet", ".csv"])
def test_local_files(tmp_path, suffix):
    rows = [{"q": "What is {1} + 1?\nNow.", "a": "2"}, {"q": "Ünicode", "a": "3"}]
    own = Benchmark("own", "", "test", ("q",), ("a",), prompt="{problem} \\boxed{{}}")
    problems = load_problems(own, write(tmp_path / f"file{suffix}", rows))
    assert [(p.prompt, p.gold) for p in problems] == [
        ("What is {1} + 1?\nNow. \\boxed{}", "2"),
        ("Ünicode \\boxed{}", "3"),
    ]


def test_countdown_is_the_built_in_task():
    problems = load_problems(benchmark_named("countdown"))
    heldout = puzzles("heldout")
    assert [p.prompt for p in problems] == [puzzle.prompt for puzzle in heldout]
    assert problems[0].extra == {"numbers": list(heldout[0].numbers), "target": heldout[0].target}


def test_published_sampling():
    for name, n in {"aime24": 32, "aime25": 32, "amc23": 32, "math500": 8, "olympiadbench": 8}.items():
        assert (BENCHMARKS[name].n, BENCHMARKS[name].temperature) == (n, 0.6)
    assert all("{problem}" in benchmark.prompt for benchmark in BENCHMARKS.values())
    assert BOXED.format(problem="x").endswith("\\boxed{}.")


def test_bad_data_is_refused(tmp_path):
    own = Benchmark("own", "", "test", ("q",), ("a",))
    with pytest.raises(FileNotFoundError, match="no file"):
        load_problems(own, str(tmp_path / "missing.jsonl"))
    with pytest.raises(ValueError, match=r"'question', 'answer'.*--problem-column"):
        load_problems(own, write(tmp_path / "a.jsonl", [{"question": "x", "answer": "1"}]))
    with pytest.raises(ValueError, match="none of its 2 rows has both a 'q' and an 'a'"):
        load_problems(own, write(tmp_path / "b.jsonl", [{"q": "x", "a": None}, {"q": "x", "a": " "}]))
    with pytest.raises(ValueError, match="no rows"):
        load_problems(own, write(tmp_path / "c.json", []))
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(ValueError, match=r"d.json:1 is not valid JSON"):
        load_problems(own, str(tmp_path / "d.json"))
    (tmp_path / "e.jsonl").write_text('{"q": "x", "a": "1"}\n\n{"q": 1')
    with pytest.raises(ValueError, match=r"e.jsonl:3 is not valid JSON"):
        load_problems(own, str(tmp_path / "e.jsonl"))
    (tmp_path / "f.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"f.parquet cannot be read as parquet"):
        load_problems(own, str(tmp_path / "f.parquet"))
    (tmp_path / "g.csv").write_bytes(b"q,a\n\xff,1\n")
    with pytest.raises(ValueError, match=r"g.csv cannot be read as csv"):
        load_problems(own, str(tmp_path / "g.csv"))
    with pytest.raises(ValueError, match=r"not a \.json"):
        load_problems(own, str(tmp_path))
    with pytest.raises(ValueError, match="known ones are aime24"):
        benchmark_named("aime2024")
    with pytest.raises(ValueError, match="limit"):
        load_problems(benchmark_named("countdown"), limit=0)


def test_rows_without_a_question_or_an_answer_are_left_out_and_counted(tmp_path, caplog):
    rows = [
        {"q": "x"},
        {"q": "x", "a": "1"},
        {"q": " ", "a": "1"},
        {"q": "y", "a": None},
        {"a": float("nan"), "q": "w"},
        {"q": "z", "a": [2, 3]},
    ]
    own = Benchmark("own", "", "test", ("q",), ("a",), prompt="{problem}")
    problems = load_problems(own, write(tmp_path / "a.jsonl", rows))
    assert [(p.id, p.prompt, p.gold) for p in problems] == [("1:1", "x", "1"), ("5:5", "z", "2, 3")]
    assert "4 of 6 rows have no 'q' or no 'a' and are left out (row 0, 2, 3, 4, counted from 0)" in caplog.text


def test_line_separators_inside_strings_and_byte_order_marks(tmp_path):
    own = Benchmark("own", "", "test", ("q",), ("a",), prompt="{problem}")
    strange = "one\u2028two\u0085three\x0bfour"
    lines = json.dumps({"q": strange, "a": "1"}, ensure_ascii=False) + "\n"
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8-sig")
    assert [p.prompt for p in load_problems(own, str(tmp_path / "a.jsonl"))] == [strange]
    (tmp_path / "b.csv").write_text(f'q,a\n"{strange}\nfive",1\n', encoding="utf-8-sig")
    assert [p.prompt for p in load_problems(own, str(tmp_path / "b.csv"))] == [strange + "\nfive"]


@pytest.mark.parametrize(
    "error", [ConnectionError("Couldn't reach the Hub\nlong"), ValueError("Unknown split"), OSError()]
)
def test_a_data_set_that_cannot_be_reached_is_one_line(monkeypatch, error):
    def load_dataset(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match="cannot be read from the Hub") as raised:
        load_problems(benchmark_named("math500"))
    assert "\n" not in str(raised.value)
    assert "--dataset FILE" in str(raised.value)
