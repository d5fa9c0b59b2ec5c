"""What the tests of checkpoints share: a run that saves, and what it leaves."""

import json
from pathlib import Path

import torch
from datasets import Dataset


SAVING = {"save_strategy": "steps", "save_steps": 2}
# A pass over four prompts is four optimizer steps, two generations
PROMPTS = ["a b", "c d e", "f g", "h i j k"]
METHODS = {"siren_coef": 0.5, "clip_cov_ratio": 0.1, "clip_cov_low": 0.01, "clip_cov_high": 9.0, **SAVING}


def said(caplog, module: str) -> str:
    """All that a module of the package has warned of."""
    return "\n".join(
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("trl_entropy.") and record.name.endswith(f".{module}")
    )


def in_memory():
    return Dataset.from_dict({"prompt": PROMPTS})


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def logged(folder: str | Path, name: str = "metrics.jsonl") -> list[int]:
    lines = (Path(folder) / name).read_text(encoding="utf-8").splitlines()
    return [row["step"] for row in map(json.loads, lines) if "train_runtime" not in row]
