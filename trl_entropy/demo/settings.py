"""Every number of the demo in one place: the task's training settings, and one row of arguments for each method."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from trl_entropy.tasks.countdown import SPLITS, Split
from trl_entropy.tasks.warmup import WarmupSettings


PROMPTS_PER_BATCH = 48
GENERATIONS = 16
STEPS_PER_BATCH = 2

# Shared by every method. A batch is 48 prompts with 16 completions each, spent in two optimizer steps: the second is
# off-policy, without which KL-Cov would never act.
TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "loss_type": "bnpo",
        "temperature": 1.0,
        "steps_per_generation": STEPS_PER_BATCH,
        "gradient_accumulation_steps": 1,
    }
)

# Chosen on the selection split. The papers' coefficients are for models 10,000 times larger and many more updates:
# here they would not act at all.
METHODS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "plain": {},
        "bonus": {"entropy_coef": 0.02},
        "siren": {"siren_coef": 1.0},
        "clip_cov": {"clip_cov_ratio": 0.03, "clip_cov_low": 0.5, "clip_cov_high": 5.0},
        "kl_cov": {"kl_cov_ratio": 0.2, "kl_cov_coef": 1.0},
    }
)


@dataclass(frozen=True)
class DemoSettings:
    """What `trl-entropy demo` runs.

    Attributes:
        output_dir: Where the picture, the table, the figures and the models go.
        methods: Keys of `METHODS`, run with each of `seeds`.
        seeds: Seeds of the runs. The warm-up has its own: all runs start from one model.
        batches: Generation batches a run trains for, two optimizer steps each.
        evaluations: How often a run is evaluated, evenly spaced, the end included.
        split: The puzzles to evaluate on; `"heldout"` unless settings are being chosen.
        puzzles: Evaluate on that many puzzles of the split only; None for all.
        prompts_per_batch: Prompts a batch, an even number.
        jobs: Runs at a time, each on one thread; None for one a core.
        cache_dir: Where the warmed-up model is kept; None for the user's cache folder.
        warmup: The warm-up's settings.
        changes: Arguments to train with instead of those of `METHODS`: method -> argument -> value.
    """

    output_dir: Path
    methods: tuple[str, ...] = ("plain", "siren")
    seeds: tuple[int, ...] = (0,)
    batches: int = 120
    evaluations: int = 6
    split: Split = "heldout"
    puzzles: int | None = None
    prompts_per_batch: int = PROMPTS_PER_BATCH
    jobs: int | None = None
    cache_dir: Path | None = None
    warmup: WarmupSettings = field(default_factory=WarmupSettings)
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            raise ValueError(
                f"--methods takes one or more of {', '.join(METHODS)}; got {', '.join(unknown) or 'none'}"
            )
        idle = [method for method in self.changes if method not in self.methods]
        if idle:
            raise ValueError(f"--set names {', '.join(idle)}, which is not among --methods {' '.join(self.methods)}")
        for name in ("methods", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"--{name} takes at least one value and each only once; got {values}")
        for name in ("batches", "evaluations"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.evaluations > self.batches:
            raise ValueError(
                f"--evaluations {self.evaluations} is more than --batches {self.batches}: a run is evaluated at most "
                "once a batch. Lower --evaluations or raise --batches"
            )
        if self.split not in SPLITS:
            raise ValueError(f"--split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        if self.puzzles is not None and self.puzzles < 2:
            raise ValueError(f"--puzzles must be at least 2, got {self.puzzles}")
        if self.prompts_per_batch < 2 or self.prompts_per_batch % STEPS_PER_BATCH:
            raise ValueError(
                f"prompts_per_batch must be a positive multiple of {STEPS_PER_BATCH}, got {self.prompts_per_batch}"
            )
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"--jobs must be at least 1, got {self.jobs}")

    def arguments(self, method: str) -> dict[str, Any]:
        """What a method trains with beside `TRAINING`."""
        return {**METHODS[method], **self.changes.get(method, {})}

    @property
    def evaluation_batches(self) -> tuple[int, ...]:
        """The batches after which a run is evaluated: evenly spaced, ending with the last."""
        return tuple(round(self.batches * (i + 1) / self.evaluations) for i in range(self.evaluations))


def read_changes(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`["siren.siren_coef=0.5"]` as `{"siren": {"siren_coef": 0.5}}`; values are numbers, true, false or text.

    Raises:
        ValueError: for a word of another form.
    """
    changes: dict[str, dict[str, Any]] = {}
    for word in words:
        found = re.fullmatch(r"(\w+)\.(\w+)=(.+)", word)
        if found is None:
            raise ValueError(f"--set takes METHOD.ARGUMENT=VALUE, such as siren.siren_coef=0.5; got {word!r}")
        method, argument, text = found.groups()
        value = yaml.safe_load(text)
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)  # to YAML 1e-3 is text
        changes.setdefault(method, {})[argument] = value
    return changes


def available_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
