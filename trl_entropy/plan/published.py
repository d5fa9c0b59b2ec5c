"""The papers' settings, as the files of `configs/` have them: what `doctor` compares a run with."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trl import GRPOConfig

from ..config import EntropyGRPOConfig
from ..script.config_file import read_config
from .configuration import shipped


# Of the files' arguments, those that the papers name; the others are the machine's, the data's or ours
_NAMED = (
    "loss_type", "scale_rewards", "epsilon", "beta", "temperature", "num_generations", "learning_rate",
    "lr_scheduler_type", "warmup_steps", "weight_decay", "max_completion_length", "generation_batch_size",
)  # fmt: skip
# Arguments of TRL that a method's definition rests on, at TRL's defaults
_DEFINING = (
    "epsilon_high", "delta", "importance_sampling_level", "top_entropy_quantile", "entropy_coef",
    "use_adaptive_entropy",
)  # fmt: skip
_MONITORING = ("log_", "entropy_guard", "reward_timeout")
STEPS = "optimizer steps a rollout"


def published_settings(args: EntropyGRPOConfig) -> tuple[str, Mapping[str, Any]]:
    """Where the settings of the method that is on were published, and its arguments there, `STEPS` among them.

    Of two methods it is the first. What the file leaves out has its default, which is the paper's definition.
    """
    file = shipped()[method_of(args)]
    content = read_config(str(file))
    default = {f.name: f.default for f in fields(EntropyGRPOConfig)}
    ours = [
        name for name in default if name not in GRPOConfig.__dataclass_fields__ and not name.startswith(_MONITORING)
    ]
    settings = {name: content[name] for name in _NAMED if name in content}
    settings |= {name: content.get(name, default[name]) for name in (*_DEFINING, *ours)}
    per_step = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_processes")
    step = content[per_step[0]] * content[per_step[1]] * content[per_step[2]]
    paper = re.search(r"arXiv [0-9.]+\d", file.read_text(encoding="utf-8"))
    return f"{file.stem}, {paper[0] if paper else 'TRL'}", settings | {STEPS: content["generation_batch_size"] / step}


def method_of(args: EntropyGRPOConfig) -> str:
    """The name of the file in `configs/` for the method that is on."""
    switches = {"siren": args.siren, "clip_cov": args.clip_cov, "kl_cov": args.kl_cov}
    return next((name for name, on in switches.items() if on), "naive_bonus" if args.entropy_coef else "grpo")
