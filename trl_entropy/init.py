"""A configuration to start from: a method's published settings, for a model size and a number of GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .published import PUBLISHED, published


@dataclass(frozen=True)
class Size:
    """What a model size needs: parameters in billions, GPUs of 80 GB, completions a device."""

    billions: float
    gpus: int
    per_device: int


SIZES: Mapping[str, Size] = {
    "0.5b": Size(0.5, 1, 8),
    "1.5b": Size(1.5, 1, 8),
    "3b": Size(3, 2, 8),
    "7b": Size(7, 8, 4),
    "14b": Size(14, 8, 2),
    "32b": Size(32, 32, 1),
}
_WHAT = {
    "grpo": "Plain GRPO, the baseline: all methods of entropy control are off.",
    "naive_bonus": "The naive entropy bonus, a control: L - alpha * mean entropy over all tokens and words.",
    "siren": "SIREN: the entropy of a completion's uncertain tokens is held at the initial policy's.",
    "clip_cov": "Clip-Cov: a few tokens of high covariance get no policy gradient.",
    "kl_cov": "KL-Cov: the tokens of largest covariance pay for moving away from the policy that generated them.",
}
# The arguments a user is expected to change, and what to know when doing so
YOURS: Mapping[str, str] = {
    "model_name_or_path": "yours: a Hub id or a folder",
    "dataset_name": "yours: Hub id, folder or .jsonl file with columns prompt and solution (or set prompt_column)",
    "reward_funcs": "yours: names from `trl-entropy grpo --help`, or my_module.my_reward",
    "output_dir": "yours",
    "max_steps": "yours: optimizer steps",
    "num_processes": "yours: GPUs; keep per_device x accumulation x GPUs equal, or the step changes",
    "per_device_train_batch_size": "yours: lower it when memory runs out, and raise the accumulation as much",
    "gradient_accumulation_steps": "yours, together with per_device_train_batch_size",
    "vllm_gpu_memory_utilization": "yours: lower it when training runs out of memory",
    "max_completion_length": "yours: the paper's length; shorter is cheaper, but truncated completions teach nothing",
    "entropy_coef": "yours: 1e-4 to 1e-3 is usable, 5e-3 explodes",
    "siren_coef": "yours: the paper's; 0.3 to 1 for a tiny model with few updates",
    "clip_cov_ratio": "yours: the paper's; raise it while cov/selected_share logs less than this",
    "kl_cov_ratio": "yours: the paper's for this size; a fraction, not a percentage",
}


def configuration(method: str, size: str, gpus: int | None = None) -> str:
    """The text of a commented YAML file.

    Args:
        method: `grpo`, `naive_bonus`, `siren`, `clip_cov` or `kl_cov`.
        size: `0.5b`, `1.5b`, `3b`, `7b`, `14b` or `32b`.
        gpus: number of GPUs; by default what the size is sized for. The batch of a step stays the paper's.

    Raises:
        ValueError: for an unknown method or size, or a number of GPUs that does not divide the step.

    Example:
        ```python
        Path("siren_7b.yaml").write_text(configuration("siren", "7b"))
        ```
    """
    if size not in SIZES:
        raise ValueError(f"size {size!r} is not known; give one of {', '.join(SIZES)}.")
    needs = SIZES[size]
    source, settings = published(method, needs.billions)
    gpus = gpus or needs.gpus
    steps = settings.pop("optimizer steps a rollout")
    step = settings["generation_batch_size"] // steps
    per_device = needs.per_device
    while per_device > 1 and step % (per_device * gpus):
        per_device //= 2
    if step % (per_device * gpus):
        raise ValueError(f"{gpus} GPUs do not divide a step of {step} completions; give a power of 2 up to {step}.")
    blocks = [
        {
            "model_name_or_path": _model(method, size),
            "dtype": "bfloat16",
            "dataset_name": "trl-lib/DeepMath-103K",
            "reward_funcs": "[math_reward]",
            "output_dir": f"outputs/{method}_{size}",
        },
        {
            "num_processes": gpus,
            "accelerate_config": "single_gpu" if gpus == 1 else "zero3" if needs.billions >= 7 else "multi_gpu",
            "per_device_train_batch_size": per_device,
            "gradient_accumulation_steps": step // (per_device * gpus),
        },
        {name: settings.pop(name) for name in ("generation_batch_size", "num_generations")},
        {name: value for name, value in settings.items() if not name.startswith(_OWN)},
        {"max_steps": 3200, "logging_steps": 1, "save_steps": 160},
        {"use_vllm": "true", "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.3},
        {name: value for name, value in settings.items() if name.startswith(_OWN)},
    ]
    head = [
        f"# {_WHAT[method]}",
        f"# Settings: {source}, for {size}.",
        "# Lines without a comment are the paper's or follow from it; lines marked `yours` are yours to change.",
        f"# Sized for {gpus} GPU(s) of 80 GB with vLLM; {step} completions a step, {steps} steps a rollout.",
        "# Check: trl-entropy doctor THIS_FILE     Run: trl-entropy grpo --config THIS_FILE",
    ]
    return "\n".join([*head, *("\n" + "\n".join(map(_line, block.items())) for block in blocks if block)]) + "\n"


_OWN = ("siren_", "clip_cov_", "kl_cov_", "entropy_coef")


def _model(method: str, size: str) -> str:
    math = method not in ("clip_cov", "kl_cov") and size in ("1.5b", "7b")
    return f"Qwen/Qwen2.5-{'Math-' if math else ''}{size.upper()}"


def _line(item: tuple[str, Any]) -> str:
    name, value = item
    # YAML reads 1e-06 as text
    shown = f"{value:.1e}" if isinstance(value, float) and 0 < value < 1e-3 else str(value)
    text = f"{name}: {shown}"
    return f"{text:<48}# {YOURS[name]}" if name in YOURS else text


METHODS = tuple(PUBLISHED)
