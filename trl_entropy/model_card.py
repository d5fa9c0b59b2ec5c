"""What a model card says about entropy control: papers, settings, figures."""

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import EntropyGRPOConfig


if TYPE_CHECKING:
    from .trainer import EntropyGRPOTrainer


SIREN = {
    "title": "Rethinking Entropy Regularization in Large Reasoning Models",
    "id": "2509.25133",
    "citation": """\
@article{jiang2025rethinking,
    title        = {{Rethinking Entropy Regularization in Large Reasoning Models}},
    author       = {Yuxian Jiang and Yafu Li and Guanxu Chen and Dongrui Liu and Yu Cheng and Jing Shao},
    year         = 2025,
    eprint       = {arXiv:2509.25133},
}""",
}
ENTROPY_MECHANISM = {
    "title": "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
    "id": "2505.22617",
    "citation": """\
@article{cui2025entropy,
    title        = {{The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models}},
    author       = {Ganqu Cui and Yuchen Zhang and Jiacheng Chen and Lifan Yuan and Zhi Wang and Yuxin Zuo and
                    Haozhan Li and Yuchen Fan and Huayu Chen and Weize Chen and Zhiyuan Liu and Hao Peng and Lei Bai and
                    Wanli Ouyang and Yu Cheng and Bowen Zhou and Ning Ding},
    year         = 2025,
    eprint       = {arXiv:2505.22617},
}""",
}


def papers(args: EntropyGRPOConfig) -> list[dict[str, str]]:
    """The papers of the methods that are on."""
    used = [SIREN] if args.siren else []
    return [*used, ENTROPY_MECHANISM] if args.clip_cov or args.kl_cov else used


def paper(args: EntropyGRPOConfig) -> dict[str, str]:
    """The paper TRL's card template cites: the first method's, GRPO's own when none is on."""
    from trl import GRPOTrainer

    return next(iter(papers(args)), GRPOTrainer._paper)


def settings(args: EntropyGRPOConfig) -> dict[str, Any]:
    """The entropy settings that act, and the GRPO settings that their effect depends on."""
    own = [f.name for f in fields(EntropyGRPOConfig) if f.name.startswith(("siren_", "clip_cov_", "kl_cov_"))]
    prefixes = {"SIREN": "siren_", "Clip-Cov": "clip_cov_", "KL-Cov": "kl_cov_"}
    acting = tuple(prefixes[name] for name in args.entropy_methods)
    names = [name for name in own if acting and name.startswith(acting)]
    names += ["entropy_scope"] if acting else []
    names += ["loss_type", "scale_rewards", "epsilon", "epsilon_high", "beta", "entropy_coef", "top_entropy_quantile"]
    names += ["num_generations", "gradient_accumulation_steps", "steps_per_generation", "num_iterations"]
    names += ["temperature", "learning_rate"]
    return {name: getattr(args, name) for name in names}


def entropy_section(args: EntropyGRPOConfig, figures: dict[str, float]) -> str:
    """The card's "Entropy control" section: what was on, with which settings, and the last logged figures."""
    methods = " + ".join(args.entropy_methods) or "none (plain GRPO)"
    lines = ["### Entropy control", "", f"Method: **{methods}**", "", "| argument | value |", "|---|---|"]
    lines += [f"| `{name}` | `{value}` |" for name, value in settings(args).items()]
    if figures:
        lines += ["", "| last logged figure | value |", "|---|---|"]
        lines += [f"| `{key}` | {value:.4g} |" for key, value in figures.items()]
    if len(papers(args)) > 1:
        others = [f"[{p['title']}](https://huggingface.co/papers/{p['id']})" for p in papers(args)[1:]]
        lines += ["", f"Also: {', '.join(others)}.", "", "```bibtex", *(p["citation"] for p in papers(args)[1:]), "```"]
    return "\n".join(lines)


def last_figures(log_history: list[dict[str, float]]) -> dict[str, float]:
    """The newest value of each figure that says how entropy fared."""
    figures: dict[str, float] = {}
    for row in log_history:
        for key, value in row.items():
            wanted = key in ("entropy", "reward") or key.startswith(("siren/", "cov/", "entropy/"))
            if wanted and isinstance(value, int | float):
                figures[key] = value
    return figures


def add_entropy_section(trainer: "EntropyGRPOTrainer") -> None:
    """Complete the card that TRL wrote to `output_dir/README.md`: our section, our version, a local base model."""
    from . import __version__

    path = Path(trainer.args.output_dir) / "README.md"
    text = path.read_text()
    section = entropy_section(trainer.args, last_figures(trainer.state.log_history))
    versions = "### Framework versions\n\n"
    text = text.replace(versions, f"{section}\n\n{versions}- trl_entropy: {__version__}\n", 1)
    # TRL links a base model on the Hub; one from a local folder comes out as a link to "None"
    local = Path(getattr(trainer.model.config, "_name_or_path", "") or "a model made on the spot").name
    text = re.sub(r"\[None\]\(https://huggingface\.co/None\)", f"`{local}`", text)
    path.write_text(text)
