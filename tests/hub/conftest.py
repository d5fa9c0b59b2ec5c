"""The local Hub, the client of this process pointed at it, and a saved run to push."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import transformers
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from tests.conftest import tiny_model, tiny_tokenizer

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
