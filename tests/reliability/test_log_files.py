"""What a run writes line by line has every step once, and nothing of it is lost."""

import json

from trl_entropy.durable import append_lines
from trl_entropy.reliability.log_files import LOG_FILES, make_room
from trl_entropy.runlog.run_files import candidates


def rows(path):
    return [json.loads(line)["step"] for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_line_after_one_that_was_cut_off_is_whole(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    append_lines(path, ['{"step": 1}', '{"step": 2}'])
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    append_lines(path, ['{"step": 3}'])
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "lo\n{"step": 3}\n'


def test_a_resumed_run_moves_the_later_steps_away(tmp_path):
    for name in LOG_FILES:
        append_lines(
            tmp_path / name,
            [json.dumps({"step": step, "text": "\u2028é"}, ensure_ascii=False) for step in (1, 2, 3, 4)],
        )
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b'{"step": 5, "te')
    make_room(tmp_path, 2)
    for name in LOG_FILES:
        path = tmp_path / name
        assert rows(path) == [1, 2]
        assert path.read_bytes().endswith(b"\n")
        abandoned = path.with_stem(path.stem + ".abandoned").read_text(encoding="utf-8").split("\n")
        assert [json.loads(line)["step"] for line in abandoned[:2]] == [3, 4]
        assert abandoned[2:] == ['{"step": 5, "te', ""]
    assert candidates(tmp_path) == [[tmp_path / "metrics.jsonl"]]  # a reader takes nothing that was abandoned
    append_lines(tmp_path / LOG_FILES[0], ['{"step": 3}', '{"step": 4}', '{"step": 5}'])
    make_room(tmp_path, 3)  # once more, with nothing of the first time gone
    assert rows(tmp_path / LOG_FILES[0]) == [1, 2, 3]
    abandoned = (tmp_path / "metrics.abandoned.jsonl").read_text(encoding="utf-8")
    assert abandoned.count('"step"') == 5


def test_a_run_resumed_from_the_end_leaves_its_log_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_lines(path, ['{"step": 1}', '{"step": 2}'])
    before = path.stat().st_mtime_ns
    make_room(tmp_path, 2)
    assert path.stat().st_mtime_ns == before
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_fresh_run_sets_aside_what_is_there(tmp_path):
    for number in (1, 2):
        append_lines(tmp_path / "token_map.jsonl", [f'{{"step": {number}}}'])
        make_room(tmp_path, 0)
    assert rows(tmp_path / "token_map-1.jsonl") == [1]
    assert rows(tmp_path / "token_map-2.jsonl") == [2]
    assert not (tmp_path / "token_map.jsonl").exists()
