"""One training run of the demo, in a process of its own: `python -m trl_entropy.demo.worker run.json`.

The run appends one JSON object a line to its events file, from which the parent draws its progress and its results:
`{"kind": "log", "batch", "reward", "entropy"}` and `{"kind": "evaluation", "batch", "columns"}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
from trl_entropy.demo.measure import MAX_COMPLETION_LENGTH, evaluate_policy
from trl_entropy.demo.settings import GENERATIONS, STEPS_PER_BATCH, TRAINING
from trl_entropy.tasks import countdown_dataset, countdown_reward, puzzles
from trl_entropy.tasks.countdown import Split


EVALUATION_SEED = 1234
# A tiny model on a CPU, offline
_HERE = {"report_to": "none", "use_cpu": True, "bf16": False, "gradient_checkpointing": False}

_USAGE = """
## The task of this model

It was made by `trl-entropy demo` and knows one thing: the countdown chain, three numbers combined from left to right
to reach a target. It is no chat model.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model_id = "{folder}"
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id)
prompt = tokenizer("3 5 2 -> 17 :", return_tensors="pt")
for sample in model.generate(**prompt, do_sample=True, top_k=0, max_new_tokens=11, num_return_sequences=8):
    print(tokenizer.decode(sample, skip_special_tokens=True))
```
"""


@dataclass(frozen=True)
class RunSpec:
    """One run: what to train, for how long, and where its results go."""

    method: str
    arguments: dict[str, Any]
    seed: int
    batches: int
    prompts_per_batch: int
    evaluation_batches: tuple[int, ...]
    split: Split
    puzzles: int | None
    start_model: str
    folder: str

    @property
    def events(self) -> Path:
        """The file that the run reports to."""
        return Path(self.folder) / "events.jsonl"

    @property
    def name(self) -> str:
        """`siren-seed0`: the run's name in folders and tables."""
        return f"{self.method}-seed{self.seed}"

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """The run that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "evaluation_batches": tuple(values["evaluation_batches"])})


class _Events(TrainerCallback):
    """Writes the run's events while it trains."""

    def __init__(self, spec: RunSpec, tokenizer: PreTrainedTokenizerBase) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        self.file = spec.events
        self.file.write_text("", encoding="utf-8")

    def _write(self, **event: Any) -> None:
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if logs and "reward" in logs:
            batch = state.global_step / STEPS_PER_BATCH
            self._write(kind="log", batch=batch, reward=logs["reward"], entropy=logs["entropy"])

    def on_step_end(self, args, state, control, **kwargs) -> None:
        batch, rest = divmod(state.global_step, STEPS_PER_BATCH)
        if rest == 0 and batch in self.spec.evaluation_batches:
            figures = evaluate_policy(
                kwargs["model"], self.tokenizer, puzzles(self.spec.split)[: self.spec.puzzles], EVALUATION_SEED
            )
            columns = {name: values.tolist() for name, values in figures.columns().items()}
            self._write(kind="evaluation", batch=batch, columns=columns)


def check_arguments(arguments: dict[str, Any]) -> None:
    """Raise `ValueError` where a run with these arguments would be refused."""
    try:
        EntropyGRPOConfig(**{**_HERE, **TRAINING, **arguments}, output_dir="unused")
    except TypeError as error:
        raise ValueError(f"{error}: `trl-entropy grpo --help` lists the arguments") from error


def load_start(folder: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that every run starts from, and its tokenizer."""
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def train(spec: RunSpec, callbacks: Sequence[TrainerCallback] = ()) -> EntropyGRPOTrainer:
    """Train one run and save its model with tokenizer, model card, log and token map in `spec.folder`."""
    model, tokenizer = load_start(spec.start_model)
    arguments = EntropyGRPOConfig(
        output_dir=spec.folder,
        per_device_train_batch_size=spec.prompts_per_batch * GENERATIONS // STEPS_PER_BATCH,
        num_generations=GENERATIONS,
        max_completion_length=MAX_COMPLETION_LENGTH,
        max_steps=spec.batches * STEPS_PER_BATCH,
        seed=spec.seed,
        logging_steps=1,
        save_strategy="no",
        disable_tqdm=True,
        log_token_map=4,
        log_token_map_steps=40,
        log_entropy_dynamics=True,
        **{**_HERE, **TRAINING, **spec.arguments},
    )
    trainer = EntropyGRPOTrainer(
        model=model,
        args=arguments,
        reward_funcs=countdown_reward,
        train_dataset=countdown_dataset("train"),
        processing_class=tokenizer,
        callbacks=[_Events(spec, tokenizer), *callbacks],
    )
    trainer.train()
    trainer.save_model(spec.folder)
    trainer.create_model_card(model_name=f"countdown-{spec.name}")
    card = Path(spec.folder) / "README.md"
    card.write_text(card.read_text(encoding="utf-8") + _USAGE.format(folder=spec.folder), encoding="utf-8")
    return trainer


def main(path: str) -> None:
    """Run the specification in the JSON file at `path` on one thread."""
    torch.set_num_threads(1)
    train(RunSpec.from_json(Path(path).read_text(encoding="utf-8")))


if __name__ == "__main__":
    main(sys.argv[1])
