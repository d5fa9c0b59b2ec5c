"""The local Hub, the client of this process pointed at it, and a saved run to push."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
import transformers
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.script import train
from trl_entropy.tasks.countdown import puzzles
from trl_entropy.tasks.tiny_model import build_model
from trl_entropy.tasks.tokenizer import build_tokenizer

from .stub import Hub


CARD = '---\nlibrary_name: transformers\n---\n\n# A run\n\n```python\nmodel_id = "somewhere"\n```\n'


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub().start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
    close_session()
    yield server
    close_session()
    server.shutdown()
    server.server_close()


@pytest.fixture
def saved_run(tmp_path: Path) -> Path:
    folder = tmp_path / "my-run"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    (folder / "checkpoint-3").mkdir()
    (folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"large")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Run the training script on the countdown task from local files; returns the run's folder."""
    tokenizer = build_tokenizer()
    build_model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = [{"prompt": p.prompt, "numbers": p.numbers, "target": p.target} for p in puzzles("train")[:16]]
    (tmp_path / "puzzles.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def start(**overrides) -> Path:
        settings = {
            "model_name_or_path": str(tmp_path / "base"),
            "dtype": "float32",
            "dataset_name": str(tmp_path / "puzzles.jsonl"),
            "reward_funcs": ["countdown_reward"],
            "output_dir": str(tmp_path / "first-try"),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "disable_tqdm": True,
            "logging_steps": 1,
            "save_steps": 2,
            "max_steps": 4,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "steps_per_generation": 2,
            "max_completion_length": 6,
            "gradient_checkpointing": False,
            "siren_coef": 0.3,
            "push_to_hub": True,
            **overrides,
        }
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
        train.main(["--config", str(tmp_path / "run.yaml")])
        return Path(settings["output_dir"])

    return start
