"""From the training script to the Hub and back: strategies, adapters, resume, and a push that fails at the end."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_entropy.step.state import STATE_FILE
from trl_entropy.tasks.tokenizer import build_tokenizer

from .stub import Hub


pytestmark = pytest.mark.slow


Run = Callable[..., Path]


def test_every_save_is_pushed_and_the_last_one_loads(hub: Hub, run: Run, tmp_path: Path):
    folder = run(hub_private_repo=True, hub_model_id="someone/countdown")
    files = hub.files["someone/countdown"]
    messages = [message for _, message, _ in hub.commits]
    assert "Training in progress, step 2" in messages
    assert messages[-1] == "Trained with trl_entropy"
    assert hub.private["someone/countdown"] is True
    assert "entropy_control.png" in files
    assert not [path for path in files if path.startswith("checkpoint")]

    card = ModelCard(files["README.md"].decode())
    assert "`base`" in card.text
    assert "`puzzles.jsonl`" in card.text
    assert "None" not in card.text.split("###")[0]
    assert 'model_id = "someone/countdown"' in card.text
    assert "| `siren_coef` | `0.3` |" in card.text
    assert "2509.25133" in card.text
    assert "Yuxian Jiang" in card.text
    assert "vonwerra2020trl" in card.text

    local = HfApi().snapshot_download("someone/countdown", cache_dir=tmp_path / "downloads")
    loaded = AutoModelForCausalLM.from_pretrained(local)
    kept = AutoModelForCausalLM.from_pretrained(folder)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), kept.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(local)("3 5 2").input_ids == build_tokenizer()("3 5 2").input_ids


@pytest.mark.parametrize(
    ("strategy", "folders"),
    [("end", set()), ("checkpoint", {"last-checkpoint"}), ("all_checkpoints", {"checkpoint-2", "checkpoint-4"})],
)
def test_hub_strategies(hub: Hub, run: Run, strategy: str, folders: set[str]):
    run(hub_strategy=strategy, hub_always_push=True)
    files = hub.files["someone/first-try"]
    assert {path.partition("/")[0] for path in files if "checkpoint" in path} == folders
    assert all(f"{name}/{STATE_FILE}" in files for name in folders)
    assert "model.safetensors" in files


def test_an_adapter_loads_from_the_hub(hub: Hub, run: Run, tmp_path: Path):
    run(use_peft=True, lora_r=2, lora_target_modules=["q_proj", "v_proj"])
    files = hub.files["someone/first-try"]
    assert "adapter_model.safetensors" in files
    assert "model.safetensors" not in files
    text = files["README.md"].decode()
    assert "PeftModel.from_pretrained(base, model_id)" in text
    assert "library_name: peft" in text
    assert "PEFT: " in text
    local = HfApi().snapshot_download("someone/first-try", cache_dir=tmp_path / "downloads")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")  # named in the repository, but only here
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "base"
    adapted = PeftModel.from_pretrained(base, local)
    assert any("lora_B" in name and bool(p.abs().sum() > 0) for name, p in adapted.named_parameters())


def test_a_run_goes_on_from_the_hub_as_if_it_had_not_stopped(hub: Hub, run: Run, tmp_path: Path):
    whole = run(output_dir=str(tmp_path / "whole"), push_to_hub=False, max_steps=4)
    run(max_steps=2, hub_strategy="checkpoint", hub_model_id="someone/half", hub_always_push=True)
    resumed = run(
        output_dir=str(tmp_path / "elsewhere"), hub_model_id="someone/half", resume_from_checkpoint="hub", max_steps=4
    )
    assert (resumed / "checkpoint-2" / STATE_FILE).is_file()
    states = [json.loads((folder / "checkpoint-4" / STATE_FILE).read_text())["state"] for folder in (whole, resumed)]
    assert states[0] == states[1]
    assert states[0]["parts"]["siren"]["anchor"] > 0
    weights = [AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_no_checkpoint_on_the_hub(hub: Hub, run: Run):
    hub.files["someone/empty"], hub.private["someone/empty"] = {"README.md": b""}, None
    with pytest.raises(SystemExit, match="holds no checkpoint"):
        run(resume_from_checkpoint="hub:someone/empty")
    with pytest.raises(SystemExit, match="could not be read"):
        run(resume_from_checkpoint="hub:someone/unknown")
    with pytest.raises(SystemExit, match="needs hub_model_id"):
        run(resume_from_checkpoint="hub")


@pytest.mark.parametrize("fault", [("/commit/", 403), ("/api/repos/create", 401)])
def test_a_push_that_fails_at_the_end_leaves_everything_saved(
    hub: Hub, run: Run, tmp_path: Path, fault: tuple[str, int], capsys: pytest.CaptureFixture
):
    hub.fault(*fault)
    with pytest.raises(SystemExit) as exit_:
        run(hub_model_id="someone/late", hub_strategy="end")
    folder = tmp_path / "first-try"
    assert f"trl-entropy push {folder}" in str(exit_.value.code)
    assert str(fault[1]) in str(exit_.value.code)
    early = fault[0] == "/api/repos/create"
    assert ("cannot be opened now" in capsys.readouterr().err) == early
    for name in ("model.safetensors", "tokenizer.json", "trainer_state.json", "README.md", "checkpoint-4"):
        assert (folder / name).exists(), name
    AutoModelForCausalLM.from_pretrained(folder)


def test_a_token_given_as_an_argument_does_not_travel(hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.tokens.add("hf_secret_argument")
    folder = run(hub_token="hf_secret_argument", max_steps=2)
    assert "model.safetensors" in hub.files["someone/first-try"]
    for path in [*folder.rglob("*")]:
        assert path.is_dir() or b"hf_secret_argument" not in path.read_bytes(), path
    assert os.environ["HF_TOKEN"] == "hf_secret_argument"
