"""The configurations that come with the package, with their comments, to start from."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..script.spelling import known_word
from .memory import GIB, PROMPT, QWEN, USABLE, training_bytes, vllm_bytes


_PACKAGE = Path(__file__).parents[1]
# Inside an installed package, or beside it in a clone
FOLDER = next(folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir())
# Launch settings for full fine-tuning of a Qwen2.5 model on GPUs of 80 GB with vLLM, as docs/scaling.md derives them:
# GPUs, completions a GPU trains on at a time, accelerate_config, dtype, and lines of its own
SIZES: Mapping[str, tuple[int, int, str, str, dict[str, int]]] = {
    "0.5b": (1, 8, "single_gpu", "float32", {}),
    "1.5b": (1, 8, "single_gpu", "float32", {}),
    "3b": (2, 4, "zero2", "bfloat16", {}),
    "7b": (8, 4, "zero3", "bfloat16", {}),
    "14b": (8, 2, "zero3", "bfloat16", {"vllm_tensor_parallel_size": 4}),
    "32b": (16, 1, "zero3", "bfloat16", {"num_machines": 2, "vllm_tensor_parallel_size": 8}),
}
LORA_RANK = 16
# Where the covariance methods' paper has other settings for 32B
_LARGE = {"clip_cov": {"learning_rate": "1.0e-6"}, "kl_cov": {"learning_rate": "1.0e-6", "kl_cov_ratio": "0.0002"}}


def shipped() -> dict[str, Path]:
    """The files by name, those of single methods last."""
    return {path.stem: path for path in (*sorted(FOLDER.glob("*.yaml")), *sorted(FOLDER.glob("methods/*.yaml")))}


def purpose(path: Path) -> str:
    """The first sentence of a file's comment."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def configuration(name: str, size: str | None = None, gpu_memory: float | None = None, lora: bool = False) -> str:
    """The text of a configuration.

    Args:
        name: of a file in `configs/`, in any spelling: `kl_cov`, `KL-Cov`.
        size: launch settings and model for another size than the file's 7B; `docs/scaling.md` has the table.
        gpu_memory: GB of a single GPU to fit: the largest model, or `size`, with the largest micro-batch.
        lora: train adapters on every linear layer instead of the weights; needs `gpu_memory`.

    Raises:
        ValueError: for an unknown name or size, a size of a file that is not written for several, and where nothing
            fits.

    Example:
        ```python
        Path("siren_3b.yaml").write_text(configuration("siren", "3b"))
        ```
    """
    files = shipped()
    path = files[known_word(name, files, "a configuration")]
    if lora and gpu_memory is None:
        raise ValueError("--lora needs --gpu-memory: settings are chosen for one GPU. Say how many GB it has.")
    if gpu_memory is not None and not 0 < gpu_memory < math.inf:
        raise ValueError(f"--gpu-memory {gpu_memory:g} is not allowed: give the GB of one GPU.")
    text = path.read_text(encoding="utf-8")
    data = re.search(r"^dataset_name: configs/(\S+)", text, re.MULTILINE)
    if data and not Path("configs", data[1]).is_file():
        text = text.replace(f"configs/{data[1]}", str(FOLDER / data[1]))
    if size is None and gpu_memory is None:
        return text
    written = {match[1]: match[2].strip() for match in re.finditer(r"^(\w+): ([^#\n]*)", text, re.MULTILINE)}
    if (size is not None and size.lower() not in SIZES) or "num_processes" not in written:
        given = f"--size {size}" if gpu_memory is None else f"--gpu-memory {gpu_memory:g}"
        allowed = (
            f"give --size one of {', '.join(SIZES)}" if "num_processes" in written else "it is for its model alone"
        )
        raise ValueError(f"{path.stem} with {given} is not allowed: {allowed}.")
    if gpu_memory is None:
        size = str(size).lower()
        cost = f"full fine-tuning of {size.upper()} on {SIZES[size][0]} GPU(s) of 80 GB; memory: docs/scaling.md"
        return _sized(text, written, path.stem, size, SIZES[size], cost)
    size, per_device, training, share = _fitting(written, size and size.lower(), gpu_memory, lora)
    own: dict[str, Any] = {"vllm_gpu_memory_utilization": share}
    if lora:
        own |= {
            "use_peft": "true",
            "lora_r": LORA_RANK,
            "lora_alpha": 2 * LORA_RANK,
            "lora_target_modules": "all-linear",
        }
        own["learning_rate"] = f"{10 * float(written['learning_rate']):.1e}"  # adapters want ten times as much
    how = "LoRA" if lora else "full fine-tuning"
    cost = (
        f"{how} of {size.upper()} on one GPU of {gpu_memory:g} GB; computed: {training:.0f} GiB for training, "
        f"{share * gpu_memory:.0f} for vLLM"
    )
    launch = (1, per_device, "single_gpu", "bfloat16" if lora else "float32", own)
    return _sized(text, written, path.stem, size, launch, cost)


def _fitting(written: Mapping[str, str], size: str | None, memory: float, lora: bool) -> tuple[str, int, float, float]:
    """The largest model and micro-batch that fit a GPU: size, completions, GiB of training, share of vLLM."""
    length = int(written["max_completion_length"]) + PROMPT
    weight, rank = (2, LORA_RANK) if lora else (4, None)
    least = math.inf
    for name in [size] if size else reversed(list(SIZES)):
        shape = QWEN[name.upper()]
        for micro in (8, 4, 2, 1):
            parts = training_bytes(shape, micro * length, weight=weight, lora=rank)
            training, engine = sum(parts.values()) / GIB, vllm_bytes(shape, length) / GIB
            share = math.ceil(100 * engine / memory) / 100
            if training <= (USABLE - share) * memory:
                return name, micro, training, share
        least = (training + engine) / USABLE
    raise ValueError(
        f"--gpu-memory {memory:g} is too little: {size or next(iter(SIZES))}{' with --lora' if lora else ''} needs a "
        f"GPU of {math.ceil(least)} GB for prompts and completions of {length:,} tokens, one at a time. "
        f"{'' if lora else 'Give --lora, '}{'a smaller --size' if size else 'a larger GPU'}, or start from the file "
        "siren_lora_colab, whose completions are short."
    )


def _sized(
    text: str, written: Mapping[str, str], name: str, size: str, launch: tuple[int, int, str, str, Mapping], cost: str
) -> str:
    gpus, per_device, sharding, dtype, own = launch
    before = [
        int(written[key]) for key in ("per_device_train_batch_size", "gradient_accumulation_steps", "num_processes")
    ]
    step = before[0] * before[1] * before[2]
    math_model = "Math" in written["model_name_or_path"] and size in ("1.5b", "7b")
    values = {
        "model_name_or_path": f"Qwen/Qwen2.5-{'Math-' if math_model else ''}{size.upper()}",
        "dtype": dtype,
        "output_dir": f"{written['output_dir']}_{size}",
        "num_processes": gpus,
        "accelerate_config": sharding,
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": step // (per_device * gpus),
        **(_LARGE.get(name, {}) if size == "32b" else {}),
        **own,
    }
    for key, value in values.items():
        if key in written:
            text = re.sub(rf"^{key}: [^#\n]*?(?=\s*#|$)", f"{key}: {value}", text, count=1, flags=re.MULTILINE)
    now = f"{per_device} x {values['gradient_accumulation_steps']} x {gpus} GPU"
    text = re.sub(r"\d+ x \d+ x \d+ GPU", now, text)
    text = re.sub(r"^# Cost:.*(\n#   .*)*", f"# Cost: {cost}.", text, flags=re.MULTILINE)
    more = {key: value for key, value in values.items() if key not in written}
    if not math_model and "system_prompt" not in written:  # Qwen2.5-Math's chat template says it
        more["system_prompt"] = r"Please reason step by step, and put your final answer within \boxed{}."
    return text + "".join(f"{key}: {value}\n" for key, value in more.items())
