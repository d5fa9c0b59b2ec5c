"""The model card: what was trained, with which settings, how it went, how to load it."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from accelerate.utils import is_peft_model
from huggingface_hub import EvalResult, ModelCard
from trl import GRPOTrainer

from .. import TrlEntropyError
from ..config import EntropyGRPOConfig
from ..methods import CONTROLLERS, METHODS, Method, Paper, controllers_on, methods_on


PICTURE = "entropy_control.png"
BEGIN, END = "<!-- trl_entropy: figures -->", "<!-- trl_entropy: end of figures -->"
_OURS = re.compile(rf"{BEGIN}.*?{END}", re.DOTALL)
_ADAPTIVE = ("use_adaptive_entropy", "entropy_target", "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta")
_EFFECT = ("num_generations", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
_SHOWN = ("pass@", "maj@", "avg@", "distinct_correct", "entropy")


class CardError(TrlEntropyError, ValueError):
    """A card, or an evaluation that belongs on it, is damaged. The message names the file."""


def paper(args: EntropyGRPOConfig) -> dict[str, str]:
    """The paper TRL's card template cites: the first method's, GRPO's own when none is on."""
    found = _papers(methods_on(args))
    return _cited(found[0]) if found else GRPOTrainer._paper


def settings(args: EntropyGRPOConfig, methods: Sequence[Method]) -> dict[str, Any]:
    """The entropy settings that act, and the GRPO settings that their effect depends on."""
    names = [f.name for part in (*methods, *controllers_on(args)) for f in fields(part.Arguments)]
    names += ["entropy_scope"] if methods else []
    names += ["loss_type", "scale_rewards"]
    clip = low, high = args.epsilon, args.epsilon_high if args.epsilon_high is not None else args.epsilon
    for method in methods:
        low, high = method.clip(low, high)
    names += ["epsilon", "epsilon_high"] if (low, high) == clip else []  # a method opens the clip
    names += ["beta", "entropy_coef", *(_ADAPTIVE if args.use_adaptive_entropy else ()), "top_entropy_quantile"]
    return {name: getattr(args, name) for name in (*names, *_EFFECT, "temperature", "learning_rate")}


def entropy_section(args: EntropyGRPOConfig, methods: Sequence[Method]) -> str:
    """The card's "Entropy control" section: what was on, and with which settings."""
    on = " + ".join([*(method.name for method in methods), *(["entropy bonus"] if _bonus(args) else [])])
    lines = ["### Entropy control", "", f"Method: **{on or 'none (plain GRPO)'}**"]
    lines += ["", "| argument | value |", "|---|---|"]
    lines += [f"| `{name}` | `{value}` |" for name, value in settings(args, methods).items()]
    others = [_cited(paper) for paper in _papers(methods)[1:]]  # TRL's template cites the first
    if others:
        links = (f"[{other['title']}](https://huggingface.co/papers/{other['id']})" for other in others)
        lines += ["", f"Also: {', '.join(links)}.", "", "```bibtex", *(other["citation"] for other in others), "```"]
    return "\n".join(lines)


def loading_section(model_id: str, base_model: str | None, adapter: bool, vision: bool, chat: bool) -> str:
    """The card's "How to load" section: code that runs as it stands, for a full model or an adapter of `base_model`.

    `model_id` is the repository on the Hub, or the folder while it is not there; `chat` says that there is a template.
    """
    auto = "AutoModelForImageTextToText" if vision else "AutoModelForCausalLM"
    processor = "AutoProcessor" if vision else "AutoTokenizer"
    needs = f"This repository holds a PEFT adapter for `{base_model}`, which must be there to load it.\n\n"
    load = f'model = {auto}.from_pretrained(model_id, dtype="auto", device_map="auto")'
    if adapter:
        load = f'base = {auto}.from_pretrained("{base_model}", dtype="auto", device_map="auto")\n'
        load += "model = PeftModel.from_pretrained(base, model_id)"
    inputs = 'inputs = processor("3 5 2 -> 17 :", return_tensors="pt").to(model.device)  # a prompt of your task'
    if chat:
        inputs = """messages = [{"role": "user", "content": "What is 17 * 3?"}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
).to(model.device)"""
    imports = "from peft import PeftModel\n" if adapter else ""
    return f"""## How to load

{needs if adapter else ""}```python
{imports}from transformers import {auto}, {processor}

model_id = "{model_id}"
{load}
processor = {processor}.from_pretrained(model_id)
{inputs}
output = model.generate(**inputs, max_new_tokens=256)
print(processor.decode(output[0], skip_special_tokens=True))
```"""


def add_entropy_section(trainer: Any) -> None:
    """Complete the card that TRL wrote to the `output_dir/README.md` of an `EntropyGRPOTrainer`.

    Added: the method with its settings and last figures, a picture, how to load, the evaluations found in the folder
    (also as the card's model-index), our version and PEFT's. Mended: a base model or dataset that is not on the Hub,
    and the name of a run without entropy control.
    """
    from .. import __version__

    args, folder, processor = trainer.args, Path(trainer.args.output_dir or "."), trainer.processing_class
    base = getattr(trainer.model.config, "_name_or_path", "") or ""
    peft = bool(is_peft_model(trainer.model))
    card = ModelCard.load(folder / "README.md")
    data: Any = card.data  # its attributes are the keys of the card's header
    name = trainer._name if trainer.methods or _bonus(args) else "GRPO"
    text = re.sub(rf"\b{re.escape(trainer._name)}\b", name, card.text)
    versions = "### Framework versions\n\n"
    section = f"{entropy_section(args, trainer.methods)}\n\n{figures_section(folder)}\n\n{versions}"
    section += f"- trl_entropy: {__version__}\n" + (f"- PEFT: {version('peft')}\n" if peft else "")
    text = _exchange(text, re.escape(versions), lambda _: section)
    loading = loading_section(
        trainer.hub_model_id or args.hub_model_id or str(folder),
        (Path(base).name if Path(base).is_dir() else base) or None,
        adapter=peft,
        vision=hasattr(processor, "image_processor"),
        chat=bool(getattr(processor, "chat_template", None)),
    )
    text = _exchange(text, r"(?s)## Quick start\n.*?(?=\n## )", lambda _: loading + "\n")
    text = text.replace("[None](https://huggingface.co/None)", f"`{Path(base).name or 'a model made on the spot'}`")
    dataset = next(iter(data.datasets or []), None) if isinstance(data.datasets, list) else data.datasets
    if dataset and (not re.fullmatch(r"[\w.-]+/[\w.-]+", dataset) or Path(dataset).exists()):  # not of the Hub
        text = text.replace(f"[{dataset}](https://huggingface.co/datasets/{dataset})", f"`{Path(dataset).name}`")
        data.datasets = None
    card.text = text
    data.library_name = "peft" if peft else data.library_name
    _index(data, folder)
    card.save(folder / "README.md")


def refresh_card(folder: str | Path) -> None:
    """Bring the figures, the picture and the model-index of a run's card up to what its folder holds now.

    Only the part between our marks is exchanged, and in the header only the entries of the evaluations found: what
    someone wrote around them stays. A folder without a card, and a card without the marks, are left alone.

    Raises:
        CardError: when an evaluation in the folder, or the card's header, is damaged.
    """
    folder = Path(folder)
    path = folder / "README.md"
    if not path.is_file() or not _OURS.search(path.read_text(encoding="utf-8")):
        return
    section = figures_section(folder)
    path.write_text(_OURS.sub(lambda _: section, path.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    if any(row["trained"] for row in evaluations(folder)):
        try:
            card = ModelCard.load(path)
        except (ValueError, yaml.YAMLError) as error:
            raise CardError(f"The header of {path} is no valid card ({error}). Mend it.") from error
        _index(card.data, folder)
        card.save(path)


def name_repository(folder: str | Path, repo_id: str) -> None:
    """Let the card in `folder` load from `repo_id`, where the push really goes. No card: nothing to do."""
    path = Path(folder) / "README.md"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        named = re.sub(r'(?m)^model_id = ".*"$', lambda _: f'model_id = "{repo_id}"', text)
        path.write_text(named, encoding="utf-8")


def figures_section(folder: Path) -> str:
    """Draw the picture of the run in the folder, and return the part of the card between our marks, marks included."""
    from ..plots.card_picture import plot_card
    from ..runlog import Run, RunLogError, read_run

    try:
        run = read_run(folder)
    except RunLogError:  # pushed without its log
        run = Run(folder.name, folder)
    parts = (*METHODS, *CONTROLLERS)
    shown = {"entropy", *(metric.key.partition("/")[0] for part in parts for metric in part.metrics)}
    shown |= {str(method.get("key")) for method in run.settings.get("methods", ())}  # a user's own, too
    last = {
        key: series.values[-1] for key, series in run.metrics.items() if key.partition("/")[0] in {*shown, "reward"}
    }
    found = evaluations(folder)
    lines = ["| last logged figure | value |", "|---|---|"] if last else []
    lines += [f"| `{key}` | {value:.4g} |" for key, value in last.items()]
    curves = {
        row["label"]: at
        for row in found
        if (at := {int(k[5:]): v[0] for k, v in row["figures"].items() if k[:5] == "pass@"})
    }
    if plot_card(run, folder / PICTURE, curves):
        titles = [title for title, there in (("Entropy", "entropy" in last), ("pass@k", curves)) if there]
        lines += ["", f"![{' and '.join(titles)} of this run]({PICTURE})"]
    if found:
        head = ("dataset", "model", "figure", "value", "95 % interval")
        lines += ["", "### Evaluation", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in found:
        lines += [
            f"| {row['dataset']} | {row['label']} | {name} | {mean:.3f} | {low:.3f} to {high:.3f} |"
            for name, (mean, low, high) in row["figures"].items()
        ]
    return "\n".join([BEGIN, *lines, END])


def evaluations(folder: str | Path) -> list[dict[str, Any]]:
    """Every evaluation below `folder/evaluation`, those of other models first; `trl-entropy eval` leaves them there.

    Each has its `dataset`, its `label`, whether it is of the model in the folder (`trained`), and its `figures`, by
    name (mean, low, high), 95 %.

    Raises:
        CardError: for a file that cannot be read; it names the file.
    """
    found = []
    for path in sorted(Path(folder).glob("evaluation/**/*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CardError(f"{path} is damaged ({error}). Evaluate again, or delete it.") from error
        for row in content.get("figures", []) if isinstance(content, dict) else []:
            trained = _is(row["model"], Path(folder))
            figures = {k: (v["mean"], v["low"], v["high"]) for k, v in row["figures"].items() if k.startswith(_SHOWN)}
            label = "trained" if trained else row["name"]
            found.append({"dataset": row["benchmark"], "label": label, "trained": trained, "figures": figures})
    return sorted(found, key=lambda row: row["trained"])


def _index(data: Any, folder: Path) -> None:
    """Put the evaluations of the folder's model into a card's header; entries that they do not replace stay."""
    ours = [
        EvalResult(
            task_type="text-generation",
            dataset_type=row["dataset"],
            dataset_name=row["dataset"],
            metric_type=name.partition("@")[0] + "_at_k",
            metric_name=name,
            metric_value=round(mean, 4),
        )
        for row in evaluations(folder)
        for name, (mean, _, _) in row["figures"].items()
        if row["trained"] and "@" in name
    ]
    if ours:
        measured = {(result.dataset_type, result.metric_name) for result in ours}
        kept = [r for r in data.eval_results or () if (r.dataset_type, r.metric_name) not in measured]
        data.eval_results = kept + ours
        data.model_name = data.model_name or folder.absolute().name


def _papers(methods: Sequence[type[Method] | Method]) -> list[Paper]:
    return list(dict.fromkeys(method.paper for method in methods if method.paper))


def _cited(paper: Paper) -> dict[str, str]:
    return {"title": paper.title, "id": paper.id, "citation": paper.citation}


def _bonus(args: EntropyGRPOConfig) -> bool:
    return bool(args.entropy_coef or args.use_adaptive_entropy)


def _is(model: str, folder: Path) -> bool:
    """Whether an evaluated model is the one in the folder, also after the folder was moved with its parents."""
    parts, own = Path(model).expanduser().parts, folder.resolve().parts
    return Path(model).expanduser().resolve() == folder.resolve() or (bool(parts) and own[-len(parts) :] == parts)


def _exchange(text: str, pattern: str, by: Callable[[re.Match], str]) -> str:
    text, found = re.subn(pattern, by, text, count=1)
    if not found:
        raise CardError(f"TRL's model card has no part {pattern!r}: this version of TRL writes another card.")
    return text
