"""The runs behind the pictures of docs/recipes/: small, real, on a CPU. They show a shape, not a figure to reach.

    python scripts/recipe_runs.py on_policy_lora             # trains its runs, minutes each, then draws them
    python scripts/recipe_runs.py explosion --only "bonus, band"  # one of its runs alone
    python scripts/recipe_runs.py explosion --draw           # draws what is there

The policy is the built-in task's (countdown, 0.37 M parameters, 109 words, warmed up to pass@1 0.31); for `vision` it
is a tiny model that begins from random weights and looks at squares of one colour. On two processes:

    python -m torch.distributed.run --nproc_per_node 2 scripts/recipe_runs.py resume --only "at 12, two processes"
"""

import argparse
import json
import os
from pathlib import Path
from statistics import fmean
from typing import Any


SHARED: dict[str, Any] = {
    "num_generations": 16,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "constant",
    "max_completion_length": 9,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "seed": 0,
}
ON_POLICY = {"per_device_train_batch_size": 256, "max_steps": 50}
LONG = {"per_device_train_batch_size": 128, "max_steps": 40, "learning_rate": 3e-4}
BONUS = {**LONG, "entropy_coef": 0.3}
CHECKPOINTS = {"per_device_train_batch_size": 128, "max_steps": 24, "save_strategy": "steps", "save_steps": 12}
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "on_policy_lora": {
        "GRPO": {**ON_POLICY, "learning_rate": 1e-3},
        "SIREN": {**ON_POLICY, "learning_rate": 1e-3, "siren_coef": 1.0},
    },
    "explosion": {
        "bonus": BONUS,
        "bonus, guard": {**BONUS, "entropy_guard": "lower", "entropy_guard_high": 0.6},
        "bonus, band": {**BONUS, "band_width": 0.05, "band_step": 0.1, "control_target": 0.5},
        "bonus, doubling": {**BONUS, "doubling_factor": 2.0, "control_target": 0.5},
        "SIREN alone": {**LONG, "siren_coef": 1.0},
    },
    "resume": {
        "uninterrupted": {**CHECKPOINTS, "siren_coef": 1.0},
        "resumed at 12": {**CHECKPOINTS, "siren_coef": 1.0},
        "at 12, two processes": {**CHECKPOINTS, "siren_coef": 1.0, "per_device_train_batch_size": 64},
    },
    "vision": {"GRPO": {"per_device_train_batch_size": 64, "max_steps": 80, "learning_rate": 3e-3}},
}
RESUMES = {"resumed at 12": "uninterrupted", "at 12, two processes": "uninterrupted"}
REFERENCES = {"explosion": [(0.6, "the guard's bound")]}


def folder_of(output: Path, recipe: str, label: str) -> Path:
    return output / recipe / "".join(c if c.isalnum() else "_" for c in label)


def countdown(recipe: str) -> dict[str, Any]:
    """The trainer's policy, tokenizer, prompts and reward."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trl_entropy.tasks import TASKS
    from trl_entropy.tasks.warmup import WarmupSettings, load_or_warm_up

    task = TASKS["countdown"]
    folder, _ = load_or_warm_up(WarmupSettings(), task=task)
    parts = {
        "model": AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        "processing_class": AutoTokenizer.from_pretrained(folder),
        "reward_funcs": task.reward,
        "train_dataset": task.dataset("train"),
    }
    if recipe == "on_policy_lora":
        from peft import LoraConfig

        layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        parts["peft_config"] = LoraConfig(r=16, lora_alpha=32, target_modules=layers, task_type="CAUSAL_LM")
    return parts


def squares(folder: Path) -> dict[str, Any]:
    """A model that sees, and pictures whose colour it names: the reward is the share of its name that is right."""
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as Picture
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    from tests.examples.tiny import save_vision_model

    save_vision_model(folder)
    colours = ["red", "green", "blue"] * 32
    features = Features({"prompt": [{"role": Value("string"), "content": Value("string")}], "name": Value("string"),
                         "image": Image()})  # fmt: skip
    rows = {
        "prompt": [[{"role": "user", "content": "Colour?"}]] * len(colours),
        "name": colours,
        "image": [Picture.new("RGB", (28, 28), colour) for colour in colours],
    }

    def reward(completions, name, **_):
        said = [completion[0]["content"] for completion in completions]
        return [
            sum(a == b for a, b in zip(text, word[:3], strict=False)) / 3
            for text, word in zip(said, name, strict=True)
        ]

    return {
        "model": LlavaForConditionalGeneration.from_pretrained(folder),
        "processing_class": AutoProcessor.from_pretrained(folder),
        "reward_funcs": reward,
        "train_dataset": Dataset.from_dict(rows, features=features),
    }


def train(recipe: str, label: str, output: Path) -> None:
    """One run; its log goes to `log.json` in its folder."""
    from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer

    folder = folder_of(output, recipe, label)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {**SHARED, **RECIPES[recipe][label], "output_dir": str(folder)}
    if recipe == "vision":
        arguments["max_completion_length"] = 3
    parts = squares(folder / "model") if recipe == "vision" else countdown(recipe)
    trainer = EntropyGRPOTrainer(args=EntropyGRPOConfig(**arguments), **parts)
    began = RESUMES.get(label)
    checkpoint = str(folder_of(output, recipe, began) / "checkpoint-12") if began else None
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.accelerator.is_main_process:
        rows = [row for row in trainer.state.log_history if "reward" in row]
        (folder / "log.json").write_text(json.dumps(rows))


def draw(recipe: str, output: Path, picture: Path) -> None:
    """Entropy and reward of the recipe's runs, beside each other: each step's, and the mean of seven around it."""
    from trl_entropy.plots.style import new_figure, paper_style, series_style

    half = 0 if recipe == "resume" else 3
    with paper_style():
        figure, axes = new_figure(1, 2, size=(7.2, 2.9))
        for index, label in enumerate(RECIPES[recipe]):
            rows = json.loads((folder_of(output, recipe, label) / "log.json").read_text())
            look = series_style(index, label)
            for axis, key in zip(axes, ("entropy", "reward"), strict=True):
                steps, values = [row["step"] for row in rows], [row[key] for row in rows]
                axis.plot(steps, values, ".", color=look.color, alpha=0.35, markersize=4, markeredgewidth=0)
                means = [fmean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
                shown = {"marker": look.marker, "markevery": max(1, len(rows) // 6), "label": label}
                axis.plot(steps, means, **look.line(), **shown)
        for value, name in REFERENCES.get(recipe, []):
            axes[0].axhline(value, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
            axes[0].annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        axes[0].set(title="Entropy", ylabel="nats a token", xlabel="optimizer step", ylim=(0, None))
        axes[1].set(title="Reward", ylabel="mean of the batch", xlabel="optimizer step", ylim=(0, None))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--only", help="train this run only")
    parser.add_argument("--draw", action="store_true", help="train nothing")
    parser.add_argument("--output", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--picture", type=Path, help="docs/images/recipe_NAME.png by default")
    given = parser.parse_args()
    if not given.draw:
        for label in [given.only] if given.only else RECIPES[given.recipe]:
            train(given.recipe, label, given.output)
    if given.only is None and int(os.environ.get("RANK", "0")) == 0:
        draw(given.recipe, given.output, given.picture or Path(f"docs/images/recipe_{given.recipe}.png"))


if __name__ == "__main__":
    main()
