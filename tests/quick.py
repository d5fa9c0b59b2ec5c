"""A published configuration made small enough for a test: batch, precision and engine change, the method does not."""

from pathlib import Path

import yaml


CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


def published(name: str) -> Path:
    """The file of `configs/` by its name."""
    return next(path for path in CONFIGS if path.stem == name)


def quick(config: Path, model: str, data: str | None, out: Path, **more) -> list[str]:
    """Command-line words that train one step on `config`; an argument that is None is left out."""
    content = yaml.safe_load(config.read_text())
    small = {
        "model_name_or_path": model, "dtype": "float32", "dataset_name": data, "output_dir": out,
        "reward_funcs": "tests.conftest.vowel_reward", "num_generations": 4, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1, "max_completion_length": 6, "max_steps": 1, "use_cpu": True, "bf16": False,
        "fp16": False, "report_to": "none", "disable_tqdm": True, "save_strategy": "no",
    }  # fmt: skip
    small["generation_batch_size" if "generation_batch_size" in content else "steps_per_generation"] = (
        8 if "generation_batch_size" in content else 2
    )
    if content.get("use_vllm"):
        small["use_vllm"] = False
    if "dataset_config" in content:
        small["dataset_config"] = "default"
    small.update(more)
    given = {key: value for key, value in small.items() if value is not None}
    return ["--config", str(config), *(word for key, value in given.items() for word in (f"--{key}", str(value)))]
