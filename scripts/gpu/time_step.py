"""A loss step in bfloat16 with Qwen2.5's vocabulary: time and memory beside plain GRPO, and waits for the host."""

import argparse
import gc
import statistics
import tempfile
import warnings
from collections.abc import Callable

import torch
from bench_step import PLAIN, fixed_batch, share_weights, step, trainer_for
from gpu_results import attempt, finish, goal, record
from gpu_stage import DEVICE, left, peak_mib, seconds, size
from transformers import Qwen2Config, Qwen2ForCausalLM


# Width, inner width, heads, layers, vocabulary; the 7B with fewer layers, so that the head weighs more than in truth
MODELS = size(
    {
        "0.5B": (896, 4864, 14, 24, 151_936),
        "1.5B": (1536, 8960, 12, 28, 151_936),
        "7B, 4 layers": (3584, 18_944, 28, 4, 152_064),
    },
    {"tiny": (32, 64, 2, 1, 1500)},
)
BOUND = 1.05
CHOSEN = (PLAIN, "SIREN", "Clip-Cov", "KL-Cov", "Lp-Reg")  # one of each kind, as many as eight minutes allow


def model_of(width: int, inner: int, heads: int, layers: int, vocab: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=width, intermediate_size=inner, num_attention_heads=heads, num_key_value_heads=2,
        num_hidden_layers=layers, vocab_size=vocab, tie_word_embeddings=True, pad_token_id=0, eos_token_id=1,
        bos_token_id=None,
    )  # fmt: skip
    with torch.device(DEVICE):
        return Qwen2ForCausalLM(config).to(dtype=torch.bfloat16)  # type: ignore[call-arg]


def waits(function: Callable[[], None]) -> int | None:
    """How often the call makes the host wait for the GPU."""
    if DEVICE != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            function()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in seen)


def one_model(name: str, shape: tuple[int, ...], folder: str) -> None:
    args = argparse.Namespace(device=DEVICE, sequences=size(8, 4), length=size(1024, 12), prompt=size(128, 4))
    first, trainers = model_of(*shape), {}
    for method in CHOSEN:
        model = first if method == PLAIN else share_weights(model_of(*shape), first)
        trainers[method] = trainer_for(method, args, model, folder)
        gc.collect()
    batch = fixed_batch(args, shape[-1])
    calls = {method: lambda trainer=trainer: step(trainer, batch) for method, trainer in trainers.items()}
    for call in calls.values():
        call()
    rounds = [{method: seconds(call, 1, warm=0) for method, call in calls.items()} for _ in range(size(5, 1))]
    peaks, waited = {}, {}
    for method, call in calls.items():
        call()
        peaks[method], waited[method] = peak_mib(call), waits(call)
        trainers[method].model.zero_grad()
    for method in CHOSEN:
        by_time = statistics.median(one[method] / one[PLAIN] for one in rounds)
        took = statistics.median(one[method] for one in rounds)
        by_memory = peaks[method] / peaks[PLAIN] if peaks[method] else None
        record(
            method, model=name, ms=1e3 * took, x_plain=by_time, peak_mib=peaks[method], x_plain_memory=by_memory,
            waits_for_host=waited[method],
        )  # fmt: skip
        if method != PLAIN:
            goal(f"loss step, {method} / plain ({name})", by_time, BOUND)
            if by_memory is not None:
                goal(f"memory of a loss step, {method} / plain ({name})", by_memory, BOUND)
                goal(f"waits for the host, {method} beyond plain ({name})", waited[method] - waited[PLAIN], 0)


for name, shape in MODELS.items():
    if left() > 8:
        with tempfile.TemporaryDirectory() as folder:
            attempt(
                f"loss step of {name}", lambda name=name, shape=shape, folder=folder: one_model(name, shape, folder)
            )
        gc.collect()
        torch.cuda.empty_cache()
    else:
        record(f"no time for {name}", kind="failed")
finish()
