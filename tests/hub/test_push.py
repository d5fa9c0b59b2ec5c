"""A push arrives whole, or fails with everything saved, a reason, and the command that repeats it."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, get_session
from transformers import AutoModelForCausalLM

from tests.conftest import tiny_model
from trl_entropy import cli
from trl_entropy.hub import publish as push
from trl_entropy.hub.card import BEGIN, END
from trl_entropy.hub.publish import DESTINATION_FILE, Destination, PushFailedError, push_folder

from .conftest import CARD
from .stub import Hub


FAILURES = {
    "401": ("/api/repos/create", 401, "hf auth login"),
    "403": ("/preupload/", 403, "write access"),
    "404": ("/commit/", 404, "Check the name"),
    "409": ("/commit/", 409, "same moment"),
    "500": ("/preupload/", 500, "later"),
    "503 at the commit": ("/commit/", 503, "later"),
    "connection lost at the commit": ("/commit/", "drop", "network"),
    "connection lost at the start": ("/api/repos/create", "drop", "network"),
}


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (DESTINATION_FILE, "README.md")
    }


def test_a_push_arrives_and_loads(hub: Hub, saved_run: Path, tmp_path: Path):
    assert push_folder(saved_run) == f"{hub.url}/someone/my-run"
    files = hub.files["someone/my-run"]
    assert "model.safetensors" in files
    assert 'model_id = "someone/my-run"' in files["README.md"].decode()
    assert not [path for path in files if "checkpoint" in path or path == DESTINATION_FILE]
    assert not (saved_run / DESTINATION_FILE).exists()

    folder = HfApi().snapshot_download("someone/my-run", cache_dir=tmp_path / "downloads")
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), tiny_model().parameters(), strict=True))


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_push_says_why_and_can_be_repeated(
    hub: Hub, saved_run: Path, failure: str, capsys: pytest.CaptureFixture
):
    part, kind, advice = FAILURES[failure]
    before = contents(saved_run)
    hub.fault(part, kind)
    assert cli.main(["push", str(saved_run), "--repo", "someone/elsewhere", "--private"]) == 1
    message = capsys.readouterr().err
    assert advice in message
    assert f"trl-entropy push {saved_run}" in message
    assert "Everything is saved" in message
    assert contents(saved_run) == before

    hub.faults.clear()
    assert cli.main(["push", str(saved_run)]) == 0  # the destination is remembered
    assert "model.safetensors" in hub.files["someone/elsewhere"]
    assert hub.private["someone/elsewhere"] is True


def test_a_server_that_says_nothing_is_given_up(hub: Hub, saved_run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(push, "SECONDS_OF_SILENCE", 0.05)
    hub.fault("/commit/", "silence")
    with pytest.raises(PushFailedError, match="did not answer in time"):
        push_folder(saved_run)
    assert get_session().timeout.read == 0.05


def test_without_a_token(hub: Hub, saved_run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PushFailedError, match="hf auth login"):
        push_folder(saved_run)


def test_offline(hub: Hub, saved_run: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PushFailedError) as failure:
        push_folder(saved_run)
    assert "failed. HF_HUB_OFFLINE is set, so the Hub was not asked. Unset it on" in str(failure.value)
    assert ".." not in str(failure.value).replace(str(saved_run), "")


def test_a_push_brings_the_card_up_to_date(hub: Hub, saved_run: Path):
    (saved_run / "README.md").write_text(CARD + f"\nmine\n\n{BEGIN}\nold\n{END}\n\nmine too\n")
    rows = [{"step": step, "entropy": 1 / step, "reward": 0.5} for step in (1, 2, 4)]
    (saved_run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (saved_run / "settings.json").write_text(json.dumps({"method": "siren+bonus"}))
    (saved_run / "evaluation").mkdir()
    figures = {name: {"mean": mean, "low": 0.1, "high": 0.9} for name, mean in (("pass@1", 0.25), ("pass@8", 0.75))}
    row = {"model": str(saved_run), "name": "me", "benchmark": "math500", "figures": figures}
    (saved_run / "evaluation" / "results.json").write_text(json.dumps({"figures": [row]}))
    assert cli.main(["push", str(saved_run)]) == 0
    files = hub.files["someone/my-run"]
    card = ModelCard(files["README.md"].decode())
    assert "| `entropy` | 0.25 |" in card.text
    assert "| math500 | trained | pass@8 | 0.750 | 0.100 to 0.900 |" in card.text
    assert "mine\n" in card.text and "mine too" in card.text and "old" not in card.text
    assert "![Entropy and pass@k of this run]" in card.text
    assert sorted((r.metric_name, r.metric_value) for r in card.data.eval_results) == [
        ("pass@1", 0.25),
        ("pass@8", 0.75),
    ]
    assert files["entropy_control.png"].startswith(b"\x89PNG")


def test_a_private_repository_is_private_and_stays_readable_for_its_owner(hub: Hub, saved_run: Path):
    push_folder(saved_run, Destination("someone/secret", private=True))
    assert hub.private["someone/secret"] is True
    with pytest.raises(Exception, match="404"):
        HfApi(token="hf_stranger").model_info("someone/secret")


def test_the_note_holds_no_token(hub: Hub, saved_run: Path):
    hub.fault("/commit/", 403)
    with pytest.raises(PushFailedError):
        push_folder(saved_run, token="hf_good")
    assert json.loads((saved_run / DESTINATION_FILE).read_text()) == {
        "repo_id": "my-run",
        "private": None,
        "revision": None,
    }


def test_a_folder_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert cli.main(["push", str(tmp_path / "nothing")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    (tmp_path / "checkpoint-4").mkdir()
    assert cli.main(["push", str(tmp_path)]) == 2
    assert "checkpoint-4" in capsys.readouterr().err
