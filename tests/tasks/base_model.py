"""A base model for the task `sums` that takes a moment to make."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trl_entropy.tasks.tiny_model import build_model


def byte_model(folder: Path, seed: int = 0) -> str:
    """A tiny Llama whose tokens are bytes, and whose padding is its end token; its folder as text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate([*alphabet, "<end>"])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")
    build_model(seed, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
