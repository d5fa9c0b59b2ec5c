"""What a model card says about entropy control: papers, settings, how to load; `card_figures` has the figures."""

import re
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import is_peft_model
from huggingface_hub import ModelCard

from ..config import EntropyGRPOConfig
from .card_evaluation import read_evaluations
from .card_figures import figures_section, model_index


if TYPE_CHECKING:
    from ..grpo_trainer import EntropyGRPOTrainer


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
                    Haozhan Li and Yuchen Fan and Huayu Chen and Weize Chen and Zhiyuan Liu and Hao Peng and
                    Lei Bai and Wanli Ouyang and Yu Cheng and Bowen Zhou and Ning Ding},
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


def name(args: EntropyGRPOConfig) -> str:
    """What the run is to be called: `GRPO` when nothing acts on entropy."""
    return "GRPO with entropy control" if args.entropy_methods or method_key(args) == "bonus" else "GRPO"


def settings(args: EntropyGRPOConfig) -> dict[str, Any]:
    """The entropy settings that act, and the GRPO settings that their effect depends on."""
    own = [f.name for f in fields(EntropyGRPOConfig) if f.name.startswith(("siren_", "clip_cov_", "kl_cov_"))]
    prefixes = {"SIREN": "siren_", "Clip-Cov": "clip_cov_", "KL-Cov": "kl_cov_"}
    acting = tuple(prefixes[name] for name in args.entropy_methods)
    names = [name for name in own if acting and name.startswith(acting)]
    names += ["entropy_scope"] if acting else []
    names += ["entropy_guard", "entropy_guard_low", "entropy_guard_high"] if args.entropy_guard else []
    names += ["loss_type", "scale_rewards"]
    names += [] if args.kl_cov and not args.kl_cov_clip else ["epsilon", "epsilon_high"]  # KL-Cov opens the clip
    names += ["beta", "entropy_coef"]
    if args.use_adaptive_entropy:
        names += ["use_adaptive_entropy", "entropy_target"]
        names += ["entropy_coef_min", "entropy_coef_max", "entropy_coef_delta"]
    names += ["top_entropy_quantile"]
    names += ["num_generations", "gradient_accumulation_steps", "steps_per_generation", "num_iterations"]
    names += ["temperature", "learning_rate"]
    return {name: getattr(args, name) for name in names}


def entropy_section(args: EntropyGRPOConfig) -> str:
    """The card's "Entropy control" section: what was on, and with which settings."""
    bonus = ["entropy bonus"] if args.entropy_coef or args.use_adaptive_entropy else []
    methods = " + ".join([*args.entropy_methods, *bonus]) or "none (plain GRPO)"
    lines = ["### Entropy control", "", f"Method: **{methods}**", "", "| argument | value |", "|---|---|"]
    lines += [f"| `{name}` | `{value}` |" for name, value in settings(args).items()]
    if len(papers(args)) > 1:
        others = [f"[{p['title']}](https://huggingface.co/papers/{p['id']})" for p in papers(args)[1:]]
        lines += [
            "",
            f"Also: {', '.join(others)}.",
            "",
            "```bibtex",
            *(p["citation"] for p in papers(args)[1:]),
            "```",
        ]
    return "\n".join(lines)


def method_key(args: EntropyGRPOConfig) -> str:
    """The method's name in `trl_entropy.plots`."""
    keys = {"SIREN": "siren", "Clip-Cov": "clip_cov", "KL-Cov": "kl_cov"}
    bonus = args.entropy_coef or args.use_adaptive_entropy
    return next((keys[name] for name in args.entropy_methods), "bonus" if bonus else "plain")


def loading_section(model_id: str, base_model: str | None, adapter: bool, vision: bool, chat: bool) -> str:
    """The card's "How to load" section: code that runs as it stands, for a full model or for an adapter.

    Args:
        model_id: repository on the Hub, or the folder while it is not there.
        base_model: for an adapter, the model under it.
        adapter: whether the folder holds a PEFT adapter.
        vision: whether the model sees images.
        chat: whether the model has a chat template.
    """
    auto, processor = (
        ("AutoModelForImageTextToText", "AutoProcessor") if vision else ("AutoModelForCausalLM", "AutoTokenizer")
    )
    lines = ["## How to load", ""]
    if adapter:
        lines += [f"This repository holds a PEFT adapter for `{base_model}`, which must be there to load it.", ""]
    lines += ["```python", *(["from peft import PeftModel"] if adapter else [])]
    lines += [f"from transformers import {auto}, {processor}", "", f'model_id = "{model_id}"']
    if adapter:
        lines += [f'base = {auto}.from_pretrained("{base_model}", dtype="auto", device_map="auto")']
        lines += ["model = PeftModel.from_pretrained(base, model_id)"]
    else:
        lines += [f'model = {auto}.from_pretrained(model_id, dtype="auto", device_map="auto")']
    lines += [f"processor = {processor}.from_pretrained(model_id)"]
    if chat:
        lines += ['messages = [{"role": "user", "content": "What is 17 * 3?"}]']
        lines += ["inputs = processor.apply_chat_template(", "    messages, add_generation_prompt=True,"]
        lines += ['    tokenize=True, return_dict=True, return_tensors="pt",', ").to(model.device)"]
    else:
        lines += ['inputs = processor("3 5 2 -> 17 :", return_tensors="pt").to(model.device)  # a prompt of your task']
    lines += ["output = model.generate(**inputs, max_new_tokens=256)"]
    lines += ["print(processor.decode(output[0], skip_special_tokens=True))", "```"]
    return "\n".join(lines)


def name_repository(folder: str | Path, repo_id: str) -> None:
    """Let the card in `folder` load from `repo_id`, where the push really goes. No card: nothing to do."""
    path = Path(folder) / "README.md"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        named = re.sub(r'(?m)^model_id = ".*"$', lambda _: f'model_id = "{repo_id}"', text)
        path.write_text(named, encoding="utf-8")


def add_entropy_section(trainer: "EntropyGRPOTrainer") -> None:
    """Complete the card that TRL wrote to `output_dir/README.md`.

    Added: the method with its settings and last figures, a picture, how to load, the evaluations found in the folder
    (also as the card's model-index), our version and PEFT's. Mended: a base model or dataset that is not on the Hub,
    and the name of a run without entropy control.
    """
    from .. import __version__

    args, folder = trainer.args, Path(trainer.args.output_dir or ".")
    base = getattr(trainer.model.config, "_name_or_path", "") or ""
    evaluations = read_evaluations(folder)

    card = ModelCard.load(folder / "README.md")
    data: Any = card.data  # its attributes are the keys of the card's header
    text = re.sub(rf"\b{re.escape(trainer._name)}\b", name(args), card.text)
    figures = figures_section(folder, trainer.state.log_history, method_key(args), evaluations)
    section = f"{entropy_section(args)}\n\n{figures}"
    versions = "### Framework versions\n\n"
    ours = f"- trl_entropy: {__version__}\n" + (f"- PEFT: {version('peft')}\n" if is_peft_model(trainer.model) else "")
    text = _exchange(text, re.escape(versions), lambda _: f"{section}\n\n{versions}{ours}")
    processor = trainer.processing_class
    loading = loading_section(
        trainer.hub_model_id or args.hub_model_id or str(folder),
        (Path(base).name if Path(base).is_dir() else base) or None,
        adapter=bool(is_peft_model(trainer.model)),
        vision=hasattr(processor, "image_processor"),
        chat=bool(getattr(processor, "chat_template", None)),
    )
    text = _exchange(text, r"(?s)## Quick start\n.*?(?=\n## )", lambda _: loading + "\n")
    local = Path(base).name or "a model made on the spot"
    text = re.sub(r"\[None\]\(https://huggingface\.co/None\)", lambda _: f"`{local}`", text)
    dataset = next(iter(data.datasets or []), None) if isinstance(data.datasets, list) else data.datasets
    if dataset and not _on_the_hub(dataset):
        link = re.escape(f"[{dataset}](https://huggingface.co/datasets/{dataset})")
        text = re.sub(link, lambda _: f"`{Path(dataset).name}`", text)
        data.datasets = None
    card.text = text
    if is_peft_model(trainer.model):
        data.library_name = "peft"
    if evaluations:
        data.eval_results = model_index(evaluations)
        data.model_name = data.model_name or folder.absolute().name
    card.save(folder / "README.md")


def _on_the_hub(dataset: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", dataset)) and not Path(dataset).exists()


def _exchange(text: str, pattern: str, by: Callable[[re.Match], str]) -> str:
    text, found = re.subn(pattern, by, text, count=1)
    if not found:
        raise ValueError(f"TRL's model card has no part {pattern!r}: this version of TRL writes another card.")
    return text
