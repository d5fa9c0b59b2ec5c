"""The supervised warm-up: what pretraining is to a real model. It ends with a varied policy that is often wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .countdown import COUNTDOWN
from .task import Task
from .threads import one_thread
from .tiny_model import build_model
from .tokenizer import build_tokenizer


_IGNORED = -100  # of a label: what `cross_entropy` leaves out


@dataclass(frozen=True)
class WarmupSettings:
    """The warm-up's settings. Equal settings and equal library versions give the same model on one machine.

    It begins from `model`, the folder or Hub id of a pretrained one, and without it from the tiny model, newly made.
    """

    steps: int = 400
    batch_size: int = 256
    learning_rate: float = 2e-3
    seed: int = 0
    model: str | None = None

    def __post_init__(self) -> None:
        if self.steps < 2 or self.batch_size < 1:
            raise ValueError(
                f"the warm-up needs at least 2 steps of at least 1 example, got steps={self.steps}, "
                f"batch_size={self.batch_size}"
            )


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/trl-entropy`, and `~/.cache/trl-entropy` where that variable is not set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "trl-entropy"


def warm_up(
    settings: WarmupSettings, on_step: Callable[[int, float], None] | None = None, task: Task = COUNTDOWN
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Train the model on random correct completions of the warm-up split's prompts.

    Each example is a random prompt of the warm-up split with one of its solutions, both uniform. The loss is the
    cross-entropy of the completion and its end token; the prompt does not count.

    Args:
        settings: Steps, batch size, peak learning rate of the one-cycle schedule, seed.
        on_step: Called after each step with the number of steps done and the loss in nats a token.
        task: The task.

    Returns:
        The model, in evaluation mode, and its tokenizer. The global random state is left as it was.
    """
    with one_thread():
        return _train(settings, on_step, task)


def _train(
    settings: WarmupSettings, on_step: Callable[[int, float], None] | None, task: Task
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model, tokenizer = _before(settings, task)
    tokens, labels, prompt_length, first, count = _examples(tokenizer, task)
    generator = torch.Generator().manual_seed(settings.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.learning_rate, total_steps=settings.steps
    )
    model.train()
    for step in range(settings.steps):
        puzzle = torch.randint(len(count), (settings.batch_size,), generator=generator)
        which = torch.rand(settings.batch_size, generator=generator).mul(count[puzzle]).long()
        rows = first[puzzle] + which
        width = int(labels[rows].ne(_IGNORED).sum(1).max())
        logits = model(input_ids=tokens[rows, : width - 1]).logits[:, prompt_length - 1 :]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[rows, prompt_length:width].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step + 1, loss.item())
    return model.eval(), tokenizer


def _before(settings: WarmupSettings, task: Task) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model before the warm-up, and its tokenizer."""
    if settings.model is not None:
        tokenizer = AutoTokenizer.from_pretrained(settings.model)
        return AutoModelForCausalLM.from_pretrained(settings.model, dtype=torch.float32), tokenizer
    tokenizer = build_tokenizer(task.vocabulary)
    return build_model(settings.seed, tokenizer), tokenizer


def _examples(
    tokenizer: PreTrainedTokenizerBase, task: Task
) -> tuple[torch.Tensor, torch.Tensor, int, torch.Tensor, torch.Tensor]:
    """Every (prompt, solution) as a row of tokens and one of labels; the prompt's length; each prompt's first row and
    number of rows. Padding, which may be the end token, is told by its place."""
    lessons = task.lessons()
    texts = [f"{prompt} {solution}{tokenizer.eos_token}" for prompt, solutions in lessons for solution in solutions]
    count = torch.tensor([len(solutions) for _, solutions in lessons])
    prompt_length = len(tokenizer(lessons[0][0]).input_ids)
    rows = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    labels = rows.input_ids.masked_fill(rows.attention_mask == 0, _IGNORED)
    return rows.input_ids, labels, prompt_length, count.cumsum(0) - count, count


def _weights(model: str) -> str:
    """A hash of a folder's weights; of a model on the Hub, its name."""
    digest = hashlib.sha256(model.encode())
    if Path(model).is_dir():
        digest = hashlib.sha256()
        for path in sorted(Path(model).glob("*.safetensors")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def load_or_warm_up(
    settings: WarmupSettings,
    cache_dir: Path | None = None,
    on_step: Callable[[int, float], None] | None = None,
    task: Task = COUNTDOWN,
) -> tuple[Path, bool]:
    """The folder of a warmed-up model, trained only where the cache does not hold it yet.

    The folder's name is a hash of the settings, of the pretrained weights where there are any, and of the versions of
    torch and transformers. It appears under that name only when it is complete, so that an interrupted warm-up leaves
    nothing behind that a later one would load.

    Args:
        settings: The warm-up's settings.
        cache_dir: Where to keep it; `default_cache_dir()` by default.
        on_step: See `warm_up`; not called where the cache holds the model.
        task: The task.

    Returns:
        The folder, loadable with `from_pretrained`, and whether it came from the cache.
    """
    cache_dir = cache_dir or default_cache_dir()
    key = {**asdict(settings), "torch": torch.__version__, "transformers": transformers.__version__, "format": 2}
    if settings.model is None:
        del key["model"]
    else:
        key["weights"] = _weights(settings.model)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / f"{task.name}-warmup-{digest}"
    if folder.is_dir():
        return folder, True
    model, tokenizer = warm_up(settings, on_step, task)
    cache_dir.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".warmup-", dir=cache_dir))
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / "warmup.json").write_text(json.dumps(key, indent=2) + "\n", encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            # Another process finished the same warm-up first: its folder is as good as ours.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder, False
