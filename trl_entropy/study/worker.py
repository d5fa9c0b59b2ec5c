"""One run of a study in a process of its own: `python -m trl_entropy.study.worker RUN.json`.

It goes on from its newest checkpoint, waits for an orphan of a killed study that still trains in its folder, and ends
with its study. `progress.json` says how far it is; the result is written last, whole or not at all.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, TrainerCallback

from .. import EntropyGRPOTrainer
from ..durable import write_whole
from ..reliability.checkpoints import newest_complete
from ..tasks import TASKS
from ..tasks.warmup import WarmupSettings, load_or_warm_up
from .matrix import START, RunPlan
from .measure import measure
from .outcome import EVALUATIONS, SPEC, block_means
from .run_arguments import configuration
from .run_queue import sole_owner


PROGRESS = "progress.json"
USAGE = """
## The task of this model

It was made by a study of trl-entropy and knows one thing, the task `{task}`. It is no chat model.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model_id = "{folder}"
tokenizer = AutoTokenizer.from_pretrained(model_id)
model = AutoModelForCausalLM.from_pretrained(model_id)
prompt = tokenizer("{prompt}", return_tensors="pt")
for sample in model.generate(**prompt, do_sample=True, top_k=0, max_new_tokens={longest}, num_return_sequences=8):
    print(tokenizer.decode(sample, skip_special_tokens=True))
```
"""
POINTS = 60  # of each training curve in the result
_PACKAGES = ("torch", "transformers", "trl", "trl-entropy")


class _Watch(TrainerCallback):
    """Measures the policy where the plan says so, and tells the study how far the run is."""

    def __init__(self, run: StudyRun, tokenizer: Any) -> None:
        self.run, self.tokenizer = run, tokenizer

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if logs and "reward" in logs:
            note = f"reward {logs['reward']:.2f}  entropy {logs.get('entropy', float('nan')):.2f}"
            self.run.tell(state.global_step / self.run.plan.steps_per_batch, self.run.plan.batches, note)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        batch, rest = divmod(state.global_step, self.run.plan.steps_per_batch)
        if rest == 0 and batch in self.run.plan.evaluate_at:
            self.run.evaluate(kwargs["model"], self.tokenizer, batch)


class StudyRun:
    """A run with its folder, the file of its result, and the clock that survives a kill."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.plan = RunPlan(**spec["plan"])
        self.folder, self.result = Path(spec["folder"]), Path(spec["result"])
        self.cache_dir = Path(spec["cache_dir"]) if spec["cache_dir"] else None
        self.device: str = spec["device"]
        self.task = TASKS[self.plan.task]
        self.parent = os.getppid()
        self.before, self.began = 0.0, time.monotonic()

    def tell(self, done: float, total: float, note: str) -> None:
        """Say how far the run is; end it where the study that started it is gone."""
        if os.getppid() != self.parent:
            os._exit(1)
        write_whole(self.folder / PROGRESS, json.dumps({"done": done, "total": total, "note": note}))

    def carry_out(self) -> None:
        """Train and measure what is left, and write the result."""
        with sole_owner(self.folder, wait=True):
            if not self.result.exists():
                (self._start if self.plan.method == START else self._train)()

    def _start(self) -> None:
        self._forget()
        total = WarmupSettings(**self.plan.warmup).steps
        found = self._policy(lambda step, loss: self.tell(step, total, f"warm-up, loss {loss:.2f}"))
        model, tokenizer = self._load(found), AutoTokenizer.from_pretrained(found)
        self.evaluate(model, tokenizer, 0)
        self._finish({}, self._at_temperatures(model, tokenizer))

    def _policy(self, on_step: Callable[[int, float], None] | None = None) -> Path:
        """The folder of the policy that every run starts from."""
        return load_or_warm_up(WarmupSettings(**self.plan.warmup), self.cache_dir, on_step, self.task)[0]

    def _load(self, folder: Path) -> PreTrainedModel:
        return cast(Any, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)).to(self.device)

    def _train(self) -> None:
        checkpoint, _ = newest_complete(self.folder)
        if checkpoint is None:
            self._forget()
        else:
            batch = int(checkpoint.rsplit("-", 1)[1]) / self.plan.steps_per_batch
            rows = [row for row in self._rows() if row["batch"] <= batch]
            self.before = rows[-1]["seconds"] if rows else 0.0
            write_whole(self.folder / EVALUATIONS, "".join(json.dumps(row) + "\n" for row in rows))
        found = self._policy()
        tokenizer = AutoTokenizer.from_pretrained(found)
        trainer = EntropyGRPOTrainer(
            model=self._load(found),
            args=configuration(self.plan, str(self.folder), self.device),
            reward_funcs=self.task.reward,
            train_dataset=self.task.dataset("train"),
            processing_class=tokenizer,
            callbacks=[_Watch(self, tokenizer)],
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model(str(self.folder))
        trainer.create_model_card(model_name=f"{self.plan.task}-{self.plan.name}")
        prompt = self.task.prompts("heldout")[0]
        with (self.folder / "README.md").open("a", encoding="utf-8") as card:
            card.write(USAGE.format(task=self.task.name, folder=self.folder, prompt=prompt, longest=self.task.longest))
        curves = block_means(trainer.state.log_history, self.plan.steps_per_batch, POINTS)
        self._finish(curves, self._at_temperatures(trainer.model, tokenizer))
        for path in self.folder.glob("checkpoint-*"):
            shutil.rmtree(path)

    def evaluate(self, model: Any, tokenizer: Any, batch: int) -> None:
        """Measure the policy on every split of the plan, and keep it."""
        with (self.folder / EVALUATIONS).open("a", encoding="utf-8") as stream:
            for split in self.plan.splits:
                row = measure(model, tokenizer, self.task, self._prompts(split))
                seconds = round(self.before + time.monotonic() - self.began, 1)
                stream.write(json.dumps({"batch": batch, "split": split, "seconds": seconds, **row}) + "\n")

    def _at_temperatures(self, model: Any, tokenizer: Any) -> list[dict[str, Any]]:
        return [
            {"temperature": value, "split": split}
            | measure(model, tokenizer, self.task, self._prompts(split), temperature=value)
            for value in self.plan.temperatures or ()
            for split in self.plan.splits
        ]

    def _prompts(self, split: str) -> Sequence[str]:
        return self.task.prompts(split)[: self.plan.problems]  # pyright: ignore[reportArgumentType]

    def _rows(self) -> list[dict[str, Any]]:
        path = self.folder / EVALUATIONS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def _forget(self) -> None:
        """Begin anew: nothing of an attempt without a checkpoint may be mixed with this one."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (".lock", "log.txt", SPEC):
                path.unlink()

    def _finish(self, curves: dict[str, Any], at_temperatures: list[dict[str, Any]]) -> None:
        rows = self._rows()
        content = {
            "plan": self.plan.as_dict(),
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "device": self.device if self.device == "cpu" else torch.cuda.get_device_name(),
            "seconds": rows[-1]["seconds"],
            "curves": curves,
            "evaluations": rows,
        }
        if at_temperatures:
            content["temperatures"] = at_temperatures
        self.result.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.result, as_text(content))


def as_text(content: dict[str, Any]) -> str:
    """JSON that a person can read and a diff can show: a curve or an evaluation a line."""
    head = {key: value for key, value in content.items() if key not in ("curves", "evaluations", "temperatures")}
    curves = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in content["curves"].items())
    lists = [
        f' "{key}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in content[key]) + "\n ]"
        for key in ("evaluations", "temperatures")
        if key in content
    ]
    joined = ",\n".join(lists)
    return f'{json.dumps(head, indent=1)[:-2]},\n "curves": {{\n{curves}\n }},\n{joined}\n}}\n'


def main(path: str) -> None:
    """Carry out the run in the JSON file at `path`."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    StudyRun(json.loads(Path(path).read_text(encoding="utf-8"))).carry_out()


if __name__ == "__main__":
    main(sys.argv[1])
