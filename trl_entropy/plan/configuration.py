"""The configurations that come with the package, with their comments, to start from."""

import re
from collections.abc import Mapping
from pathlib import Path

from ..script.spelling import did_you_mean, plain


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
# Where the covariance methods' paper has other settings for 32B
_LARGE = {"clip_cov": {"learning_rate": "1.0e-6"}, "kl_cov": {"learning_rate": "1.0e-6", "kl_cov_ratio": "0.0002"}}


def shipped() -> dict[str, Path]:
    """The files by name, those of single methods last."""
    return {path.stem: path for path in (*sorted(FOLDER.glob("*.yaml")), *sorted(FOLDER.glob("methods/*.yaml")))}


def purpose(path: Path) -> str:
    """The first sentence of a file's comment."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def configuration(name: str, size: str | None = None) -> str:
    """The text of a configuration.

    Args:
        name: of a file in `configs/`, in any spelling: `kl_cov`, `KL-Cov`.
        size: launch settings and model for another size than the file's 7B; `docs/scaling.md` has the table.

    Raises:
        ValueError: for an unknown name or size, or a size of a file that is not written for several.

    Example:
        ```python
        Path("siren_3b.yaml").write_text(configuration("siren", "3b"))
        ```
    """
    files = {plain(stem): path for stem, path in shipped().items()}
    if plain(name) not in files:
        raise ValueError(
            f"{name!r} is not a configuration.{did_you_mean(name, shipped())} There are: {', '.join(shipped())}."
        )
    path = files[plain(name)]
    text = path.read_text(encoding="utf-8")
    data = re.search(r"^dataset_name: configs/(\S+)", text, re.MULTILINE)
    if data and not Path("configs", data[1]).is_file():
        text = text.replace(f"configs/{data[1]}", str(FOLDER / data[1]))
    return text if size is None else _sized(text, path.stem, size.lower())


def _sized(text: str, name: str, size: str) -> str:
    written = {match[1]: match[2] for match in re.finditer(r"^(\w+): ([^#\n]*)", text, re.MULTILINE)}
    if size not in SIZES or "num_processes" not in written:
        allowed = f"give one of {', '.join(SIZES)}" if "num_processes" in written else f"{name} is for its model alone"
        raise ValueError(f"--size {size} is not allowed: {allowed}.")
    gpus, per_device, sharding, dtype, own = SIZES[size]
    before = [
        int(written[key]) for key in ("per_device_train_batch_size", "gradient_accumulation_steps", "num_processes")
    ]
    step = before[0] * before[1] * before[2]
    math = "Math-" if "Math" in written["model_name_or_path"] and size in ("1.5b", "7b") else ""
    values = {
        "model_name_or_path": f"Qwen/Qwen2.5-{math}{size.upper()}",
        "dtype": dtype,
        "output_dir": f"{written['output_dir'].strip()}_{size}",
        "num_processes": gpus,
        "accelerate_config": sharding,
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": step // (per_device * gpus),
        **(_LARGE.get(name, {}) if size == "32b" else {}),
    }
    for key, value in values.items():
        text = re.sub(rf"^{key}: [^#\n]*?(?=\s*#|$)", f"{key}: {value}", text, count=1, flags=re.MULTILINE)
    now = f"{per_device} x {values['gradient_accumulation_steps']} x {gpus} GPU"
    text = re.sub(r"\d+ x \d+ x \d+ GPU", now, text)
    cost = f"# Cost: full fine-tuning of {size.upper()} on {gpus} GPU(s) of 80 GB with vLLM; memory: docs/scaling.md."
    text = re.sub(r"^# Cost:.*(\n#   .*)*", cost, text, flags=re.MULTILINE)
    if not math and "system_prompt" not in written:  # Qwen2.5-Math's chat template says it
        own = {"system_prompt": r"Please reason step by step, and put your final answer within \boxed{}.", **own}
    return text + "".join(f"{key}: {value}\n" for key, value in own.items())
