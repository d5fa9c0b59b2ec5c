"""Generation with transformers: left-padded batches, exact token entropies, the global random state left alone."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .asking import Asking
from .preflight import loading
from .sampling import Completion, Prompt, Sampling


class TransformersEngine(Asking):
    """Generates with a model that lies in this process.

    The model's mode (train, eval) and its gradient checkpointing are restored after use. `chat`, which is `"auto"`,
    `"always"` or `"never"`, and the system prompt are as in [`Asking`].
    """

    name = "transformers"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        chat: str = "auto",
        system_prompt: str | None = None,
    ):
        super().__init__(tokenizer, chat, system_prompt)
        self.model = model
        self.ends = end_tokens(model, tokenizer)
        pad: Any = tokenizer.pad_token_id
        self.pad: int = pad if pad is not None else self.ends[0]

    @torch.no_grad()
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """One completion a prompt. The batch is seeded by its first row's seed."""
        rows = self.encode(prompts)
        width, device = max(map(len, rows)), self.model.device
        ids = torch.tensor([[self.pad] * (width - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
        recorder = EntropyRecorder()
        config = generation_config(sampling, self.ends, self.pad)
        with keep_random_state(self.model.device), evaluating(self.model), generating_by(self.model, config):
            torch.manual_seed(seeds[0])
            output = self.model.generate(  # type: ignore[operator]
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=LogitsProcessorList([recorder]),
            )
        tokens = output[:, width:]
        entropies = recorder.entropies()[:, : tokens.shape[1]]
        return [self._completion(row, entropy) for row, entropy in zip(tokens.cpu(), entropies, strict=True)]

    def _completion(self, tokens: torch.Tensor, entropy: torch.Tensor) -> Completion:
        is_end = torch.isin(tokens, torch.tensor(self.ends))
        ended = bool(is_end.any())
        length = int(is_end.int().argmax()) + 1 if ended else len(tokens)
        text = self.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        return Completion(str(text), length, not ended, float(entropy[:length].mean()))


def generation_config(sampling: Sampling, ends: list[int], pad: int) -> GenerationConfig:
    """The whole of how completions are drawn: a model's own penalties, nucleus and the like are not part of it."""
    drawn = sampling.temperature > 0
    options: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(
        do_sample=drawn,
        max_new_tokens=sampling.max_new_tokens,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=ends,
        pad_token_id=pad,
        use_cache=True,
        **(options if drawn else {}),
    )


@contextlib.contextmanager
def generating_by(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """Make `config` the model's own while it generates: `generate` fills what is unset from the model's defaults."""
    owners = [module for module in model.modules() if "generation_config" in vars(module)]
    kept = [(module, module.generation_config) for module in owners]
    for module in owners:
        module.generation_config = config  # type: ignore[assignment]
    try:
        yield
    finally:
        for module, own in kept:
            module.generation_config = own


class EntropyRecorder(LogitsProcessor):
    """Records the entropy of the raw next-token distributions; transformers calls it before temperature and top-p."""

    def __init__(self):
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        logps = scores.float().log_softmax(-1)
        # A forbidden token (-inf) has probability 0 and adds nothing; 0 * -inf would be NaN.
        self._steps.append(-(logps.exp() * logps.clamp_min(-1e4)).sum(-1))
        return scores

    def entropies(self) -> torch.Tensor:
        """(B, T) in nats, on the CPU."""
        return torch.stack(self._steps, dim=1).cpu()


@contextlib.contextmanager
def keep_random_state(device: torch.device) -> Iterator[None]:
    """Restore the random states of Python, numpy, the CPU and `device` on leaving: a training run must not notice."""
    python, array = random.getstate(), np.random.get_state()
    mps = torch.mps.get_rng_state() if device.type == "mps" else None  # which fork_rng does not know
    others = [] if device.type in ("cpu", "mps") else [device]
    try:
        with torch.random.fork_rng(devices=others, device_type=device.type if others else "cuda"):
            yield
    finally:
        if mps is not None:
            torch.mps.set_rng_state(mps)
        random.setstate(python)
        np.random.set_state(array)


@contextlib.contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without gradient checkpointing (which forbids the cache), both restored on leaving."""
    modes = {module: module.training for module in model.modules()}
    checkpointed = [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]
    model.eval()
    for module in checkpointed:
        module.gradient_checkpointing = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in checkpointed:
            module.gradient_checkpointing = True  # type: ignore[assignment]
        for module, training in modes.items():
            module.training = training


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a completion: those of the generation config (chat models have several) and the tokenizer's."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    found = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    found = [i for i in dict.fromkeys([*found, tokenizer.eos_token_id]) if isinstance(i, int)]
    if not found:
        raise ValueError("Neither the model nor the tokenizer names an end token; set eos_token_id in either.")
    return found


def load_transformers(
    model: str,
    dtype: str = "auto",
    device: str | None = None,
    revision: str | None = None,
    chat: str = "auto",
    system_prompt: str | None = None,
) -> TransformersEngine:
    """Load a hub id, a local path or a PEFT adapter (its base model is read from its configuration, and merged).

    Raises:
        ValueError: for what cannot be loaded, and, before the weights are read, for a chat template that refuses.
    """
    from transformers import AutoModelForCausalLM

    with loading(model):
        adapter = adapter_config(model, revision)
        tokenizer = load_tokenizer(model, revision, adapter)
    Asking(tokenizer, chat, system_prompt)
    with loading(model):
        if adapter is None:
            loaded = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, revision=revision)
        else:
            loaded = AutoModelForCausalLM.from_pretrained(
                adapter.base_model_name_or_path, dtype=dtype, revision=adapter.revision
            )
            loaded = _merged(loaded, model, revision, len(tokenizer))
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return TransformersEngine(loaded.to(place).eval(), tokenizer, chat, system_prompt)  # type: ignore[arg-type]


def load_tokenizer(model: str, revision: str | None, adapter: Any) -> PreTrainedTokenizerBase:
    """A model's tokenizer, at its revision; an adapter's own, or its base model's where it has none."""
    from transformers import AutoTokenizer

    own = adapter is None or _holds(model, "tokenizer_config.json", revision)
    name, revision = (model, revision) if own else (adapter.base_model_name_or_path, adapter.revision)
    return AutoTokenizer.from_pretrained(name, revision=revision)


def _merged(base: Any, adapter: str, revision: str | None, words: int) -> Any:
    """The base model with the adapter merged into it, grown first to the vocabulary that the adapter was trained on.

    That is the height of the embedding or head which the adapter holds, or, if it holds none, the tokenizer's.
    """
    from peft import PeftModel
    from peft.utils import load_peft_weights

    grown = {id(base.get_input_embeddings()), id(base.get_output_embeddings())}
    names = tuple(f"{name}.weight" for name, module in base.named_modules() if id(module) in grown)
    weights = load_peft_weights(adapter, device="cpu", revision=revision)
    rows = [w.shape[0] for name, w in weights.items() if name.endswith(names)]
    rows += [w.shape[1] for name, w in weights.items() if "lora_embedding_A" in name]
    vocabulary = base.get_input_embeddings().weight.shape[0]
    if max(rows, default=max(words, vocabulary)) != vocabulary:
        base.resize_token_embeddings(max(rows, default=words), mean_resizing=False)
    return PeftModel.from_pretrained(base, adapter, revision=revision).merge_and_unload()


def adapter_base(model: str, revision: str | None = None) -> str | None:
    """The base model of a PEFT adapter, None if `model` is a whole model."""
    found = adapter_config(model, revision)
    return found.base_model_name_or_path if found is not None else None


def adapter_config(model: str, revision: str | None = None) -> Any:
    """The configuration of a PEFT adapter, None if `model` is a whole model."""
    from peft import PeftConfig

    whole = (Path(model) / "config.json").is_file() or not _holds(model, "adapter_config.json", revision)
    return None if whole else PeftConfig.from_pretrained(model, revision=revision)


def _holds(model: str, file: str, revision: str | None) -> bool:
    """Whether a folder or a repository of the Hub has a file."""
    from transformers.utils import cached_file

    return bool(cached_file(model, file, revision=revision, _raise_exceptions_for_missing_entries=False))
