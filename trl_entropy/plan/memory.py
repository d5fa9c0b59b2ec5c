"""Memory of training a language model, computed from its shape and not measured; docs/scaling.md has the tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


GIB = 2**30
# Of a GPU; the rest is the CUDA context's and what the allocator leaves between tensors
USABLE = 0.92
PROMPT = 1024  # tokens, where nobody says
_HELD = 16  # completions at a time in vLLM's cache


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on; `layers`, `inner` and `keys` are 0 where a configuration does not say.

    Attributes:
        hidden, vocabulary, layers: sizes of the model.
        inner: width inside the MLP.
        keys: width of the keys of a layer, all heads.
        tied: whether the head is the embedding.
    """

    hidden: int
    vocabulary: int
    layers: int = 0
    inner: int = 0
    keys: int = 0
    tied: bool = False

    @property
    def known(self) -> bool:
        """Whether memory can be computed."""
        return bool(self.layers and self.inner and self.keys)

    @property
    def _linear(self) -> tuple[tuple[int, int], ...]:
        h, k, i = self.hidden, self.keys, self.inner
        return ((h, h), (h, k), (h, k), (h, h), (h, i), (h, i), (i, h))

    @property
    def parameters(self) -> int:
        """Of a dense model with gated MLPs, as Llama's and Qwen's are."""
        layer = sum(rows * columns for rows, columns in self._linear)
        return self.layers * layer + (1 if self.tied else 2) * self.vocabulary * self.hidden

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA on every linear layer."""
        return self.layers * rank * sum(rows + columns for rows, columns in self._linear)


QWEN = {
    "0.5B": ModelShape(896, 151_936, 24, 4864, 128, tied=True),
    "1.5B": ModelShape(1536, 151_936, 28, 8960, 256, tied=True),
    "3B": ModelShape(2048, 151_936, 36, 11_008, 256, tied=True),
    "7B": ModelShape(3584, 152_064, 28, 18_944, 512),
    "14B": ModelShape(5120, 152_064, 48, 13_824, 1024),
    "32B": ModelShape(5120, 152_064, 64, 27_648, 1024),
}
KNOWN_SHAPES = {
    **{f"Qwen/Qwen2.5-{size}": shape for size, shape in QWEN.items()},
    **{f"Qwen/Qwen2.5-Math-{size}": QWEN[size] for size in ("1.5B", "7B")},
}


def model_shape(name: str | None) -> ModelShape | None:
    """Read the shape from a local folder or the Hub's local cache, else from a short table; `None` if nobody knows."""
    if not name:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = Path(name) / "config.json" if Path(name).is_dir() else try_to_load_from_cache(name, "config.json")
    if isinstance(path, str | Path) and Path(path).is_file():
        config = json.loads(Path(path).read_text())
        config = {**config, **config.get("text_config", {})}
        if "hidden_size" in config and "vocab_size" in config:
            heads = config.get("num_attention_heads") or 1
            width = config.get("head_dim") or config["hidden_size"] // heads
            return ModelShape(
                config["hidden_size"],
                config["vocab_size"],
                config.get("num_hidden_layers") or 0,
                config.get("intermediate_size") or 0,
                (config.get("num_key_value_heads") or heads) * width,
                bool(config.get("tie_word_embeddings")),
            )
    return KNOWN_SHAPES.get(name.removesuffix("-Instruct"))


def training_bytes(
    shape: ModelShape,
    tokens: int,
    *,
    weight: float = 4,
    lora: int | None = None,
    checkpointing: bool = True,
    shards: tuple[int, int] = (1, 1),
) -> Mapping[str, float]:
    """Bytes that a process holds at most in a loss step, by what holds them.

    Args:
        shape: the model's; `shape.known`.
        tokens: of a micro-batch, prompts included.
        weight: bytes of a weight: 4, or 2 in half precision.
        lora: rank of adapters on every linear layer; the rest is then frozen.
        checkpointing: whether layers are computed anew in the backward pass.
        shards: over how many processes weights, and gradients with optimizer, are split.
    """
    trained = shape.parameters if lora is None else shape.adapters(lora)
    frozen = 0 if lora is None else shape.parameters
    each = weight if lora is None else 4
    # Adam's two, and where half precision is sharded a float32 copy
    copies = 2 * each if each == 4 or shards[1] == 1 else 12
    layer = 4.0 * tokens * (3 * shape.inner + 12 * shape.hidden)
    gathered = 2 * shape.vocabulary * shape.hidden if shards[0] > 1 else 0  # the largest unit, whole
    return {
        "weights": (frozen * weight + trained * each) / shards[0],
        "gradients and optimizer": trained * (each + copies) / shards[1],
        "activations": layer + 2.0 * tokens * shape.hidden * shape.layers if checkpointing else layer * shape.layers,
        "head": 2.0**30 + gathered,
    }


def vllm_bytes(shape: ModelShape, length: int, split: int = 1) -> float:
    """Bytes that vLLM needs on a GPU beside training: weights in half precision, a cache of 16 sequences, 1 GiB."""
    cache = 2 * 2 * shape.layers * shape.keys * length * _HELD
    return (2.0 * shape.parameters + cache) / split + GIB
