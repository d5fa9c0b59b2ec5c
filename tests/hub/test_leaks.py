"""Nothing private leaves: secrets of many kinds planted in a run's folder, every staged byte searched for them."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image, PngImagePlugin
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.tensorboard import SummaryWriter
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.hub.clean import Cleaner, is_secret
from trl_entropy.hub.publish import PushFailedError, push_folder
from trl_entropy.hub.upload import staged
from trl_entropy.runlog import read_run

from .stub import Hub


HOME = "/home/alice"
SECRETS = {
    "hub token": "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
    "wandb key": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
    "access token": "qwertz-uiop-1",
    "api key": "asdfgh.jkl.2",
    "password": "hunter2-three",
    "password in an address": "opensesame",
    "bearer": "ZXhhbXBsZSB0b2tlbg",
    "AWS": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "GitHub": "ghp_0123456789abcdefghijABCDEFGHIJ",
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "webhook": "https://hooks.slack.com/services/T0/B0/xyzzyxyzzy",
    "private key": "MIIEvQIBADANBgkqhkiG9w0B",
    "of this process": "correct-horse-battery",
    "prompt": "What did the patient say?",
    "completion": "The patient said nothing.",
    "gold": "gold-answer-of-a-private-set",
    "user": "alice",
    "host": "alices-laptop",
}
CARD = f"""---
library_name: transformers
base_model: {HOME}/base
tags:
- base_model:adapter:{HOME}/base
---
# A run of {HOME}/my models/run

Logged in with {SECRETS["hub token"]}, `--password {SECRETS["password"]}`, wandb {SECRETS["wandb key"]};
Authorization: Bearer {SECRETS["bearer"]}, mirror https://me:{SECRETS["password in an address"]}@host/simple,
| `wandb_api_key` | `{SECRETS["api key"]}` |
-----BEGIN RSA PRIVATE KEY-----
{SECRETS["private key"]}
-----END RSA PRIVATE KEY-----
Words that stay: a token: everything, and/or, </think>, https://host/a/b, max_tokens: 512000.
"""
TEXTS = [  # what the allow-list does not name
    "completions/completions_00001.parquet",
    "token_map.jsonl",
    "token_map-1.jsonl",
    "report.html",
    "my report.html",
    ".env",
    ".netrc",
    "training_args.bin",
    "optimizer.pt",
    "rng_state.pth",
    "wandb/run-1/files/config.yaml",
    "run.yaml",
    "evaluation/home--alice--run/math500/seed-0/samples.parquet",
    "evaluation/home--alice--run/math500/seed-0/samples.jsonl",
    "evaluation/home--alice--run/math500/seed-0/eval_settings.json",
    "credentials.json",
    "model_notes.txt",
    "checkpoint-3/trainer_state.json",
    "pytorch_model.bin",
    "logs/train.log",
    "entropy_control.svg",
    "accelerate_config.json",
]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with each secret wherever it may stand, in a folder whose name has a space."""
    folder = tmp_path / "my models" / "a run"
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRETS["of this process"])
    everything = "\n".join([*SECRETS.values(), HOME, str(folder)])
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    save_file(weights, folder / "model.safetensors", {"format": "pt", "note": everything, "base": f"{HOME}/base"})
    for name in TEXTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(everything)
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**config, "_name_or_path": f"{HOME}/base", "hub_token": SECRETS["hub token"]})
    write(folder / "adapter_config.json", {"base_model_name_or_path": f"{HOME}/base models/Qwen", "r": 2})
    private = {
        "model": f"{HOME}/base",
        "prompt": SECRETS["prompt"],
        "arguments": {
            "output_dir": str(folder),
            "learning_rate": 0.1,
            "accessToken": SECRETS["access token"],
            "model_init_kwargs": {"api_key": SECRETS["api key"], "headers": {"Authorization": SECRETS["bearer"]}},
            "proxy": f"http://me:{SECRETS['password in an address']}@proxy:3128",
            "store": f"sqlite:///{HOME}/my studies/x.db",
            "argv": ["--password", SECRETS["password"], "--cache", f"{HOME}/.cache/x"],
            "note": f"aws {SECRETS['AWS']} and {SECRETS['GitHub']}",
            "comment": f"as {SECRETS['of this process']} said",
            "callback": SECRETS["webhook"],
            "web": [SECRETS["web token"]],
            "windows": r"C:\Users\alice\run",
            "password": 97531864,
            "completions": [SECRETS["completion"]],
            "story": everything,
            SECRETS["hub token"]: 1,
            "git": {"commit": "0123456789abcdef0123456789abcdef01234567"},
        },
    }
    write(folder / "settings.json", private)
    write(folder / "trainer_state.json", {"best_model_checkpoint": f"{folder}/checkpoint-3", "log_history": [private]})
    rows = [
        {"step": 1, "entropy": 0.5, **private},
        {"step": 2, "entropy": 0.25, "text": everything, "extra": everything},
    ]
    for name in ("metrics.jsonl", "metrics-1.jsonl", "entropy_dynamics.jsonl", "entropy_reward.jsonl"):
        (folder / name).write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 3, "model": "/home/al')
    figures = [{"model": str(folder), "name": "me", "benchmark": "b", "figures": {}}]
    problems = {"problems": [{"id": "1", "gold": SECRETS["gold"]}], "model": str(folder)}
    results = {"figures": figures, "runs": [problems], "settings": private, "samples": [SECRETS["completion"]]}
    write(folder / "evaluation" / "results.json", results)
    (folder / "evaluation" / "results.md").write_text(f"| {HOME}/base | 0.5 |\n")
    (folder / "README.md").write_text(CARD)
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", everything)
    Image.new("RGB", (2, 2), "red").save(folder / "entropy_control.png", pnginfo=info)
    with SummaryWriter(folder / "runs" / "Nov28_alices-laptop", filename_suffix=".alices-laptop") as writer:
        writer.add_text("args", everything)
        writer.add_scalar("train/entropy", 0.5, 7)
    return folder


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def leaks(files: dict[str, bytes], *more: str) -> list[tuple[str, str]]:
    """The (file, secret) pairs found, plain, as JSON or a URL escapes them, in base64, or in a file's name."""
    found = []
    for what in [*SECRETS.values(), HOME, "97531864", *more]:
        forms = {what, json.dumps(what)[1:-1], what.replace(" ", "%20"), base64.b64encode(what.encode()).decode()}
        found += [
            (name, what) for name, data in files.items() for form in forms if form.encode() in data or form in name
        ]
    return found


def test_no_staged_byte_is_private(planted: Path):
    before = {path: path.read_bytes() for path in planted.rglob("*") if path.is_file()}
    with staged(planted) as stage:
        files = {p.relative_to(stage.path).as_posix(): p.read_bytes() for p in stage.path.rglob("*") if p.is_file()}
        assert leaks(files, str(planted), str(planted.parent)) == []
        assert sorted(stage.left_out) == sorted(TEXTS)
        assert "report.html" in stage.line and "\n" not in stage.line
        (stage.path / "adapter_config.json").unlink()
        model = AutoModelForCausalLM.from_pretrained(stage.path)
        assert all(map(torch.equal, model.state_dict().values(), tiny_model().state_dict().values()))
        assert AutoTokenizer.from_pretrained(stage.path)("a b").input_ids == tiny_tokenizer()("a b").input_ids
        with safe_open(stage.path / "model.safetensors", "pt") as weights:
            assert weights.metadata()["base"] == "base"
        events = next(stage.path.glob("runs/*/events.out.tfevents.*"))
        assert read_run(events).metrics["entropy"].values == [0.5]
        assert read_run(events).metrics["entropy"].steps == [7]
    settings = json.loads(files["settings.json"])
    assert settings["model"] == "base"
    assert settings["arguments"]["output_dir"] == "a run"
    assert settings["arguments"]["learning_rate"] == 0.1
    assert settings["arguments"]["git"]["commit"] == "0123456789abcdef0123456789abcdef01234567"
    assert json.loads(files["adapter_config.json"]) == {"base_model_name_or_path": "Qwen", "r": 2}
    rows = [json.loads(line) for line in files["metrics.jsonl"].splitlines()]
    assert [(row["step"], row["entropy"]) for row in rows] == [(1, 0.5), (2, 0.25)]
    card = files["README.md"].decode()
    assert ModelCard(card).data.base_model == "base"
    assert CARD.splitlines()[-1] in card
    assert {path: path.read_bytes() for path in planted.rglob("*") if path.is_file()} == before


def test_a_push_twice_and_half_pushed_sends_the_same_clean_bytes(
    hub: Hub, planted: Path, capsys: pytest.CaptureFixture
):
    hub.fault("/commit/", 500, times=100)
    with pytest.raises(PushFailedError, match=f"500[^$]* trl-entropy push '{planted}'"):
        push_folder(planted)
    hub.faults.clear()
    push_folder(planted)
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and "training_args.bin" in line
    first = dict(hub.files["someone/a-run"])
    push_folder(planted)
    assert hub.files["someone/a-run"] == first
    assert leaks(first, str(planted)) == []


def test_what_belongs_to_the_model_goes_byte_by_byte(tmp_path: Path):
    """A vocabulary holds anything, a template speaks of paths, and special tokens are no secrets."""
    tiny_model().save_pretrained(tmp_path)
    same = {
        "tokenizer.json": {
            "model": {"vocab": {"token": 1, "/usr/local/bin": 2, "password": 3}, "merges": ["/a /b/c"]}
        },
        "added_tokens.json": {"password": 5},
        "special_tokens_map.json": {"eos_token": {"content": "<eos>"}, "image_token": "IMG", "pad_token": "[PAD]"},
        "tokenizer_config.json": {
            "chat_template": "{{ x }}\nDrive: '/mnt/data'",
            "hub_token": None,
            "bos_token": "<s>",
        },
        "generation_config.json": {"eos_token_id": 1, "temperature": 0.5},
    }
    for name, content in same.items():
        write(tmp_path / name, content)
    (tmp_path / "chat_template.jinja").write_text("</tool>{{ '/mnt/data' }}")
    with staged(tmp_path) as stage:
        for name in (*same, "chat_template.jinja", "model.safetensors", "config.json"):
            assert (stage.path / name).read_bytes() == (tmp_path / name).read_bytes(), name
        assert stage.left_out == [] and stage.line == ""


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, struct.pack("<Q", 5) + b"{oops", b"\xff" * 40])
@pytest.mark.parametrize(
    "name", ["settings.json", "config.json", "entropy_control.png", "README.md", "adapter_model.safetensors"]
)
def test_a_damaged_file_stays(tmp_path: Path, name: str, damage: bytes):
    (tmp_path / name).write_bytes(damage)
    with staged(tmp_path) as stage:
        goes = [path.name for path in stage.path.rglob("*")]
    assert (goes, stage.left_out) in (([], [name]), ([name], []))
    assert goes == [] or name == "README.md"


def test_bytes_behind_the_tensors_are_no_weights(tmp_path: Path):
    save_file({"x": torch.zeros(2)}, tmp_path / "model.safetensors")
    with (tmp_path / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with staged(tmp_path) as stage:
        assert stage.left_out == ["model.safetensors"]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("accessToken", "hub_token", "WANDB_API_KEY", "APIKey", "--password", "db.secret")),
        *((name, False) for name in ("max_tokens", "tokenizer", "monkey", "author", "key_proj")),
    ],
)
def test_which_names_are_secret(name: str, secret: bool):
    assert is_secret(name, record=False) is secret


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("see /data/models/Qwen2.5-7B.", "see Qwen2.5-7B."),
        ("PATH=/usr/bin:/data/x/bin", "PATH=bin:bin"),
        ("file:///data/x/y z", "y z"),
        ("postgresql://u:p@db/x and ssh://git@host/y", "postgresql://db/x and ssh://host/y"),
        ("https://x.org/a/b?token=abcdef1&page=12", "https://x.org/a/b?token=REMOVED&page=12"),
        ("-L/home/bob/lib", "-L~/lib"),
        ("host=db password=1234 user=x", "host=db password=REMOVED user=x"),
        ("AccountKey=abc123==;EndpointSuffix=x", "AccountKey=REMOVED;EndpointSuffix=x"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----", "REMOVED"),
        ("me:hunter2@proxy:3128", "proxy:3128"),
        ("| `eos_token` | `<eos>` |", "| `eos_token` | `<eos>` |"),
        ("call hf_hub_download(repo)", "call hf_hub_download(repo)"),
        ("a / b, c/d, ../e/f, </g>/h", "a / b, c/d, ../e/f, </g>/h"),
    ],
)
def test_texts(text: str, cleaned: str, tmp_path: Path):
    assert Cleaner(tmp_path).text(text) == cleaned


@pytest.mark.parametrize("strategy", ["every_save", pytest.param("all_checkpoints", marks=pytest.mark.slow)])
def test_the_trainers_own_pushes_are_clean(
    hub: Hub, run: Callable[..., Path], tmp_path: Path, strategy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.tokens.add("hf_secret_argument")
    folder = run(
        hub_strategy=strategy, hub_always_push=True, hub_token="hf_secret_argument", log_completions=True,
        log_token_map=2, report_to="tensorboard", max_steps=2,
    )  # fmt: skip
    assert (folder / "training_args.bin").exists() and list(folder.glob("completions/*"))
    sent = [path for _, _, paths in hub.commits for path in paths]
    assert len(hub.commits) > 1 and any(name.startswith("runs/") for name in sent)
    private = ("training_args", "token_map", "completions", "report")
    assert not [name for name in sent if any(word in name for word in private)]
    assert leaks(hub.files["someone/first-try"], str(tmp_path), "hf_secret_argument") == []
    if strategy == "all_checkpoints":
        assert {
            "checkpoint-2/optimizer.pt",
            "checkpoint-2/rng_state.pth",
            "checkpoint-2/checkpoint_files.json",
        } <= set(sent)
