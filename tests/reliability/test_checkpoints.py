"""Which folders count as complete checkpoints, and what is said of the others."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from trl_entropy.durable import write_whole
from trl_entropy.reliability.checkpoints import (
    EARLIER,
    SEAL,
    abandon,
    flaw,
    goes_on_as,
    make_way,
    newest_complete,
    others,
    rotate,
    seal,
    sealed_facts,
    unseal,
)
from trl_entropy.reliability.run_folder import RunId, locked, own
from trl_entropy.step.state import STATE_FILE, DamagedStateError, EntropyState


SETTINGS = {"siren_top_p": 0.8}


A, B = RunId("aaaa", "2026-01-01T10:00:00+00:00"), RunId("bbbb", "2026-01-02T10:00:00+00:00")


def make(run: Path, step: int, sealed: bool = True, state: bool = True, by: RunId | None = None) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "shards").mkdir(parents=True)
    (folder / "shards" / "rank0.pt").write_bytes(b"12345")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if state:
        EntropyState(draws=7, parts={"siren": {"anchor": 0.4, "entropy": 0.3, "measured_under": SETTINGS}}).save(
            folder
        )
    if sealed:
        seal(folder, by)
    elif by:
        unseal(folder, by)
    return folder


def test_a_sealed_folder_is_complete_and_one_of_another_program_passes(tmp_path):
    assert flaw(make(tmp_path, 1)) is None
    assert flaw(make(tmp_path, 2, sealed=False, state=False)) is None


def damage_seal(folder):
    unseal(folder)


def damage_no_seal(folder):
    (folder / SEAL).unlink()


def damage_missing(folder):
    (folder / "shards" / "rank0.pt").unlink()


def damage_short(folder):
    (folder / "model.safetensors").write_bytes(b"w")


def damage_zeroed(folder):
    (folder / "model.safetensors").write_bytes(bytes(7))


def damage_one_bit(folder):
    path = folder / "shards" / "rank0.pt"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def damage_trainer_state(folder):
    (folder / "trainer_state.json").write_text('{"global_step": ')
    seal(folder)


def damage_state(folder):
    path = folder / STATE_FILE
    path.write_text(path.read_text().replace("0.4", "0.5"))


def damage_state_cut(folder):
    path = folder / STATE_FILE
    path.write_text(path.read_text()[:40])
    seal(folder)


def damage_seal_content(folder):
    (folder / SEAL).write_text("[]")


DAMAGES = {
    damage_seal: "it was not finished: checkpoint_files.json lists no files yet",
    damage_no_seal: "it was not finished: checkpoint_files.json, which is written last, is missing",
    damage_missing: "shards/rank0.pt is missing",
    damage_short: "model.safetensors has 1 bytes instead of 7",
    damage_zeroed: "model.safetensors is damaged: its checksum",
    damage_one_bit: "shards/rank0.pt is damaged: its checksum",
    damage_trainer_state: "trainer_state.json cannot be read",
    damage_state: "checksum does not match",
    damage_state_cut: "entropy_state.json is damaged",
    damage_seal_content: "cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_every_damage_is_named_and_passed_over(tmp_path, damage):
    make(tmp_path, 10)
    broken = make(tmp_path, 200)
    make(tmp_path, 30)
    damage(broken)
    found = flaw(broken)
    assert found is not None
    assert DAMAGES[damage] in found
    newest, flaws = newest_complete(tmp_path)
    assert newest == str(tmp_path / "checkpoint-30")
    assert list(flaws) == [str(broken)]


def test_a_folder_without_trainer_state_or_at_all(tmp_path):
    folder = make(tmp_path, 1, sealed=False, state=False)
    (folder / "trainer_state.json").unlink()
    assert flaw(folder) == "trainer_state.json is missing"
    assert flaw(tmp_path / "none") == "there is no such folder"
    assert newest_complete(tmp_path) == (None, {str(folder): "trainer_state.json is missing"})
    assert newest_complete(tmp_path / "none") == (None, {})


def test_writing_over_a_checkpoint_without_methods_marks_it_unfinished(tmp_path):
    """It has no entropy state that would tell it from another program's."""
    folder = make(tmp_path, 4, state=False)
    unseal(folder)
    assert "not finished" in (flaw(folder) or "")
    unseal(tmp_path / "checkpoint-5")  # a new one, before anything is in it
    assert newest_complete(tmp_path)[0] is None


def test_without_its_entropy_state_a_checkpoint_can_still_be_resumed_from(tmp_path):
    """What the error about a damaged state advises."""
    folder = make(tmp_path, 4)
    damage_state_cut(folder)
    assert flaw(folder) is not None
    (folder / STATE_FILE).unlink()
    assert flaw(folder) is None


def test_files_added_later_and_edited_cards_do_no_harm(tmp_path):
    folder = make(tmp_path, 1)
    (folder / "README.md").write_text("card")
    (folder / "extra.json").write_text("{}")
    assert flaw(folder) is None


def test_an_abandoned_checkpoint_is_gone_and_the_error_names_the_newest_good_one(tmp_path):
    make(tmp_path, 1)
    half = make(tmp_path, 2, sealed=False)
    error = abandon(half, OSError(28, "No space left on device"))
    assert not half.exists()
    assert "No space left on device" in str(error)
    assert f"newest complete checkpoint is {tmp_path / 'checkpoint-1'}" in str(error)


def test_state_survives_a_round_trip_and_a_failed_write(tmp_path, monkeypatch):
    siren = {"anchor": 0.1 + 0.2, "entropy": None, "counted_share": 1 / 3, "measured_under": SETTINGS}
    state = EntropyState(draws=9, skipped_updates=2, parts={"siren": siren, "of another version": {"x": 1}})
    state.save(tmp_path)
    assert EntropyState.load(tmp_path) == state

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        EntropyState(draws=1).save(tmp_path)
    assert EntropyState.load(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_format_1_is_read(tmp_path):
    """As version 0.1 wrote it, its checksum taken over the state alone."""
    state = {
        "anchor": 0.75, "entropy": 0.5, "measured_under": SETTINGS, "counted_share": 0.9, "draws": 3,
        "skipped_updates": 1, "guard_scale": 0.25,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps({"state": state}, sort_keys=True).encode()).hexdigest()
    (tmp_path / STATE_FILE).write_text(json.dumps({"state": state, "sha256": digest}))
    siren = {"anchor": 0.75, "entropy": 0.5, "measured_under": SETTINGS, "counted_share": 0.9}
    guard = {"scales": {"siren": 0.25, "entropy_coef": 0.25}}
    assert EntropyState.load(tmp_path) == EntropyState(3, 1, {"siren": siren, "entropy_guard": guard})


def test_a_damaged_state_names_the_file_and_the_way_out(tmp_path):
    write_whole(tmp_path / STATE_FILE, '{"state": {"anchor": 0.1}')
    with pytest.raises(DamagedStateError, match=f"{tmp_path}/{STATE_FILE} is damaged.*earlier checkpoint"):
        EntropyState.load(tmp_path)


@pytest.mark.parametrize("damage", [damage_zeroed, damage_one_bit])
def test_a_look_at_names_and_sizes_does_not_read_the_files(tmp_path, damage):
    folder = make(tmp_path, 1)
    damage(folder)
    assert flaw(folder, contents=False) is None


def test_a_seal_of_version_0_1_has_sizes_only(tmp_path):
    folder = make(tmp_path, 1)
    sizes = {"model.safetensors": 7, "shards/rank0.pt": 5}
    write_whole(folder / SEAL, json.dumps({"files": sizes}))
    assert flaw(folder) is None
    assert sealed_facts(folder) == {}
    damage_short(folder)
    assert flaw(folder) == "model.safetensors has 1 bytes instead of 7"


def test_a_seal_keeps_what_it_is_given_once_it_is_finished(tmp_path):
    folder = make(tmp_path, 1, sealed=False, by=A)
    assert sealed_facts(folder) == {}
    seal(folder, A, place={"epoch": 3})
    assert sealed_facts(folder)["place"] == {"epoch": 3}
    assert sealed_facts(tmp_path / "none") == {}


def names(run: Path) -> list[str]:
    return sorted((path.name for path in run.glob("checkpoint-*")), key=lambda name: int(name[11:]))


def test_a_clock_that_steps_back_costs_no_checkpoint(tmp_path):
    for step, time in ((2, 5000), (4, 4000), (6, 3000)):  # the newest has the oldest time
        os.utime(make(tmp_path, step, by=A), (time, time))
    rotate(tmp_path, A, 2, (str(tmp_path / "checkpoint-6"), None))
    assert names(tmp_path) == ["checkpoint-4", "checkpoint-6"]


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, [2, 4, 6, 8, 10]),
        (0, None, [2, 4, 6, 8, 10]),
        (9, None, [2, 4, 6, 8, 10]),
        (3, None, [4, 8, 10]),
        (1, None, [10]),
        (1, 4, [4, 10]),
        (2, 2, [2, 10]),
        (3, 2, [2, 8, 10]),
    ],
)
def test_what_a_limit_leaves(tmp_path, limit, best, left):
    """Checkpoint-6 is half-written: it goes first. The one just sealed and the best never go."""
    for step in (2, 4, 6, 8, 10):
        make(tmp_path, step, sealed=step != 6, by=A)
    best = best and str(tmp_path / f"checkpoint-{best}")
    rotate(str(tmp_path), A, limit, (str(tmp_path / "checkpoint-10"), best))
    assert names(tmp_path) == [f"checkpoint-{step}" for step in left]


def test_rotation_leaves_other_runs_alone(tmp_path):
    for step in (100, 200):
        make(tmp_path, step, by=A)
    for step in (2, 4, 6):
        make(tmp_path, step, by=B)
    rotate(tmp_path, B, 1, (str(tmp_path / "checkpoint-6"), None))
    assert names(tmp_path) == ["checkpoint-6", "checkpoint-100", "checkpoint-200"]


def test_the_newest_is_the_owners_newest_and_the_others_are_named(tmp_path):
    make(tmp_path, 100, by=A)
    make(tmp_path, 2, by=B)
    assert newest_complete(tmp_path)[0] == str(tmp_path / "checkpoint-100")  # nobody left a name
    with locked(tmp_path):
        own(tmp_path, B)
    newest, flaws = newest_complete(tmp_path)
    assert newest == str(tmp_path / "checkpoint-2")
    assert list(flaws) == [str(tmp_path / "checkpoint-100")]
    assert "aaaa" in flaws[str(tmp_path / "checkpoint-100")]
    assert "bbbb" in flaws[str(tmp_path / "checkpoint-100")]
    assert others(tmp_path, B) == {A: ["checkpoint-100"]}
    assert others(tmp_path, A) == {B: ["checkpoint-2"]}


def test_who_goes_on_from_a_checkpoint(tmp_path):
    for step in (2, 4, 6):
        make(tmp_path, step, by=A)
    make(tmp_path, 8, by=B)
    plain = make(tmp_path, 10, sealed=False, state=False)
    assert goes_on_as(tmp_path / "checkpoint-6", tmp_path) == A
    branch = goes_on_as(tmp_path / "checkpoint-2", tmp_path)
    assert branch is not None
    assert branch.ancestors == (("aaaa", 2),)
    damage_zeroed(tmp_path / "checkpoint-6")
    assert goes_on_as(tmp_path / "checkpoint-4", tmp_path) == A  # nothing sound lies beyond
    unknown = goes_on_as(plain, tmp_path)
    assert unknown is not None
    assert (unknown.ancestors, unknown.id is None) == (((None, 10),), False)
    assert goes_on_as(tmp_path / "checkpoint-6", tmp_path / "elsewhere") is None
    (tmp_path / "best").mkdir()
    assert goes_on_as(tmp_path / "best", tmp_path) is None


def test_a_name_that_a_run_needs_costs_another_run_no_checkpoint(tmp_path):
    for number in (1, 2):
        folder = make(tmp_path, 4, by=A)
        (folder / "which").write_text(str(number))
        make_way(folder, B)
        assert not folder.exists()
    kept = tmp_path / EARLIER / "aaaa"
    assert [(kept / name / "which").read_text() for name in ("checkpoint-4", "checkpoint-4.2")] == ["1", "2"]
    assert flaw(kept / "checkpoint-4") is None
    own_one, half = make(tmp_path, 6, by=B), make(tmp_path, 8, sealed=False, by=A)
    for folder in (own_one, half, tmp_path / "checkpoint-10"):
        assert make_way(folder, B) is None
    assert names(tmp_path) == ["checkpoint-6", "checkpoint-8"]
