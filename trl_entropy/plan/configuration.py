"""A configuration to start from: a method's published settings, for a model size and a number of GPUs."""

from collections.abc import Mapping
from typing import Any

from .published import PUBLISHED, ours, published
from .sizes import GPU_GIB, ROOM, SIZES, VLLM_SHARE


SYSTEM_PROMPT = r"Please reason step by step, and put your final answer within \boxed{}."
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
    "log_token_map": "yours: completions to look at in `trl-entropy report`, every 25 steps",
    "system_prompt": "yours: a base model has not learned how to answer",
    "num_processes": "yours: GPUs; keep per_device x accumulation x GPUs equal, or the step changes",
    "num_machines": "yours: of 8 GPUs each",
    "per_device_train_batch_size": "yours: lower it when memory runs out, and raise the accumulation as much",
    "gradient_accumulation_steps": "yours, together with per_device_train_batch_size",
    "vllm_gpu_memory_utilization": "yours: lower it when training runs out of memory",
    "max_completion_length": "yours: the paper's length; shorter is cheaper, but truncated completions score 0",
    "entropy_coef": "yours: 1e-4 to 1e-3 is usable, 5e-3 explodes",
    "siren_coef": "yours: the paper's; 0.3 to 1 for a tiny model with few updates",
    "clip_cov_ratio": "yours: the paper's; where cov/selected_share logs less, lower clip_cov_low",
    "kl_cov_ratio": "yours: the paper's for this size; a fraction, not a percentage",
}


def configuration(method: str, size: str, gpus: int | None = None) -> str:
    """The text of a commented YAML file.

    Args:
        method: `grpo`, `naive_bonus`, `siren`, `clip_cov` or `kl_cov`.
        size: `0.5b`, `1.5b`, `3b`, `7b`, `14b` or `32b`.
        gpus: number of GPUs; by default what the size is sized for. The batch of a step stays the paper's.

    Raises:
        ValueError: for an unknown method or size, or a number of GPUs that is none or does not divide the step.

    Example:
        ```python
        Path("siren_7b.yaml").write_text(configuration("siren", "7b"))
        ```
    """
    if size not in SIZES:
        raise ValueError(f"size {size!r} is not known; give one of {', '.join(SIZES)}.")
    needs = SIZES[size]
    source, settings = published(method, needs.billions)
    gpus = needs.gpus if gpus is None else gpus
    if gpus < 1:
        raise ValueError(f"--gpus {gpus} is not allowed; give 1 or more.")
    steps = settings.pop("optimizer steps a rollout")
    step = settings["generation_batch_size"] // steps
    if step % gpus:
        raise ValueError(f"{gpus} GPUs do not divide a step of {step} completions; give a power of 2 up to {step}.")
    longest = settings["max_completion_length"]
    per_device = needs.per_device
    while per_device > 1 and (step % (per_device * gpus) or needs.gib(gpus, per_device, longest) > ROOM):
        per_device //= 2
    sharding = needs.sharding if gpus > 1 else "single_gpu"
    shards = min(needs.vllm_shards, gpus)
    chosen = ours(method)
    blocks = [
        {
            "model_name_or_path": _model(method, size),
            # DeepSpeed keeps float32 weights for the optimizer; on a GPU of its own a model must be float32 itself
            "dtype": "bfloat16" if sharding.startswith("zero") else "float32",
            "dataset_name": "trl-lib/DeepMath-103K",
            "system_prompt": None if "Math" in _model(method, size) else SYSTEM_PROMPT,
            "reward_funcs": "[math_reward]",
            "output_dir": f"outputs/{method}_{size}",
        },
        {
            "num_processes": gpus,
            "num_machines": gpus // 8 if gpus > 8 else None,
            "accelerate_config": sharding,
            "per_device_train_batch_size": per_device,
            "gradient_accumulation_steps": step // (per_device * gpus),
        },
        {name: settings.pop(name) for name in ("generation_batch_size", "num_generations")},
        {name: value for name, value in settings.items() if not name.startswith(_OWN)} | chosen,
        {"max_steps": 3200, "logging_steps": 1, "save_steps": 160, "log_token_map": 4},
        {
            "use_vllm": "true",
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": VLLM_SHARE,
            "vllm_tensor_parallel_size": shards if shards > 1 else None,
        },
        {name: value for name, value in settings.items() if name.startswith(_OWN)},
    ]
    comments = {**YOURS, **dict.fromkeys(chosen, "ours")}
    written = [
        "\n".join(_line(name, value, comments) for name, value in block.items() if value is not None)
        for block in blocks
    ]
    room = needs.gib(gpus, per_device, longest)
    head = [*_head(method, size, source, gpus, room), f"# {step} completions a step, {steps} steps a rollout."]
    return "\n\n".join(["\n".join([*head, *_commands(gpus, sharding)]), *filter(None, written)]) + "\n"


def _head(method: str, size: str, source: str, gpus: int, room: float) -> list[str]:
    fits = f"# Sized for {gpus} GPU(s) of {GPU_GIB} GB with vLLM: about {room:.0f} GiB of each."
    large = (
        f"# {gpus} GPU(s): about {room:.0f} GiB of each, more than {GPU_GIB} GB hold. Give more --gpus, or train with "
        "LoRA (use_peft: true)."
    )
    return [
        f"# {_WHAT[method]}",
        f"# The paper's figures ({source}), taken over for {size}; dtype, vLLM, logging and saving are ours.",
        "# Lines marked `yours` are yours to change.",
        fits if room <= ROOM else large,
    ]


def _commands(gpus: int, sharding: str) -> list[str]:
    extras = "vllm,deepspeed" if sharding.startswith("zero") else "vllm"
    lines = [
        f'# Needs: pip install ".[{extras}]" in a clone of this package',
        "# Check: trl-entropy doctor THIS_FILE     Run: trl-entropy grpo --config THIS_FILE",
    ]
    if gpus > 8:
        lines[1:] = [
            "# Check: trl-entropy doctor THIS_FILE",
            "# On each machine: trl-entropy grpo --config THIS_FILE --machine_rank R --main_process_ip FIRST_MACHINE "
            "--main_process_port 29500",
        ]
    return lines


_OWN = ("siren_", "clip_cov_", "kl_cov_", "entropy_coef")


def _model(method: str, size: str) -> str:
    math = method not in ("clip_cov", "kl_cov") and size in ("1.5b", "7b")
    return f"Qwen/Qwen2.5-{'Math-' if math else ''}{size.upper()}"


def _line(name: str, value: Any, comments: Mapping[str, str]) -> str:
    # YAML reads 1e-06 as text
    shown = f"{value:.1e}" if isinstance(value, float) and 0 < value < 1e-3 else str(value)
    text = f"{name}: {shown}"
    return f"{text:<46}  # {comments[name]}" if name in comments else text


METHODS = tuple(PUBLISHED)
