"""Which folders count as complete checkpoints, and what is said of the others."""

import hashlib
import json
from pathlib import Path

import pytest

from trl_entropy.durable import write_whole
from trl_entropy.reliability.checkpoints import SEAL, abandon, flaw, newest_complete, seal, unseal
from trl_entropy.step.state import STATE_FILE, DamagedStateError, EntropyState


SETTINGS = {"siren_top_p": 0.8}


def make(run: Path, step: int, sealed: bool = True, state: bool = True) -> Path:
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
        seal(folder)
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
