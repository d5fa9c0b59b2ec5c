"""The model sizes that `trl-entropy init` knows, and what training one takes of a GPU's memory."""

from collections.abc import Mapping
from dataclasses import dataclass


GIB = 2**30
GPU_GIB = 80
ROOM = 74  # of them, what a plan may take
VLLM_SHARE = 0.3
PROMPT_LENGTH = 1024


@dataclass(frozen=True)
class Size:
    """A model size, with the figures of Qwen2.5.

    Attributes:
        billions: parameters.
        layers, width, vocabulary: of the model.
        gpus: how many GPUs of 80 GB it is sized for.
        per_device: completions a GPU trains on at a time, at most.
        sharding: the accelerate configuration on more than one GPU.
        vllm_shards: GPUs that one vLLM engine is split over, so that its weights fit into its share of each.
    """

    billions: float
    layers: int
    width: int
    vocabulary: int
    gpus: int
    per_device: int
    sharding: str
    vllm_shards: int = 1

    def gib(self, gpus: int, per_device: int, completion_length: int) -> float:
        """About how many GiB of each GPU full fine-tuning takes, vLLM's share included.

        Model states are 16 bytes a parameter with AdamW: weights, gradients and two moments in float32, or weights and
        gradients in bfloat16 beside float32 weights and moments. In float32, autocast adds a bfloat16 copy of the
        weights; ZeRO-2 shards all but weights, ZeRO-3 everything. Activations are those of gradient checkpointing: the
        inputs of all layers, and everything inside one. The head has one tile, and a gradient added up in float32.
        """
        sharding = self.sharding if gpus > 1 else "single_gpu"
        bytes_each = {"zero2": 2 + 14 / gpus, "zero3": 16 / gpus}.get(sharding, 16 + 2)
        tokens = per_device * (PROMPT_LENGTH + completion_length)
        activations = tokens * self.width * (2 * self.layers + 96)
        head = GIB + self.vocabulary * self.width * (4 + 2 * (sharding == "zero3"))
        return (self.billions * 1e9 * bytes_each + activations + head) / GIB + VLLM_SHARE * GPU_GIB


SIZES: Mapping[str, Size] = {
    "0.5b": Size(0.494, 24, 896, 151_936, gpus=1, per_device=8, sharding="multi_gpu"),
    "1.5b": Size(1.544, 28, 1536, 151_936, gpus=1, per_device=8, sharding="multi_gpu"),
    "3b": Size(3.086, 36, 2048, 151_936, gpus=2, per_device=8, sharding="zero2"),
    "7b": Size(7.616, 28, 3584, 152_064, gpus=8, per_device=4, sharding="zero3"),
    "14b": Size(14.77, 48, 5120, 152_064, gpus=8, per_device=2, sharding="zero3", vllm_shards=4),
    "32b": Size(32.76, 64, 5120, 152_064, gpus=16, per_device=1, sharding="zero3", vllm_shards=8),
}
