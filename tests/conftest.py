"""Tiny models, batches and helpers that every test may use. Nothing here needs a hub or a GPU."""

import json
import os


os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM


torch.set_num_threads(1)

WORDS = ["<pad>", "<eos>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", *"0123456789"]


# Rows of a training set, with the columns of two published ones
ROWS = [
    {"prompt": p, "solution": "a", "question": p, "answer": "x #### a"} for p in ["a b", "c d e", "f g", "h i"] * 4
]


def poison(values: torch.Tensor, mask: torch.Tensor, with_: float) -> torch.Tensor:
    """A copy of `values` with `with_` outside the mask: whatever reads padding shows."""
    return torch.where(mask.bool(), values, torch.full_like(values, with_))


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    return tokenizer


def tiny_model(seed: int = 0, **overrides) -> Qwen2ForCausalLM:
    """A Qwen2 of 30 thousand parameters, with logits spread enough that entropies differ."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        **{"initializer_range": 0.4, "tie_word_embeddings": True, **overrides},
    )
    return Qwen2ForCausalLM(config)


def vowel_reward(completions, **_) -> list[float]:
    """A deterministic reward that differs between samples, plain or conversational."""
    texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
    return [sum(word in "aeiou" for word in text.split()) / 4 for text in texts]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The tiny model and its tokenizer in a folder."""
    path = str(tmp_path / "tiny")
    tiny_model().save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> str:
    """`ROWS` as a file."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


@pytest.fixture
def dataset() -> Dataset:
    return Dataset.from_dict({"prompt": ["a b", "c d e", "f g", "h i j k"] * 4})


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., dict]:
    """Arguments of a quick off-policy run: 2 prompts x 4 completions a generation, two optimizer steps on each."""

    def make(**overrides) -> dict:
        return {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "logging_steps": 1,
            "save_strategy": "no",
            "max_steps": 3,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 4,
            "num_generations": 4,
            "steps_per_generation": 2,
            "max_completion_length": 8,
            "gradient_checkpointing": False,
            "disable_tqdm": True,
            "seed": 7,
            **overrides,
        }

    return make
