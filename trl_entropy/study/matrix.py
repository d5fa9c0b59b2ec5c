"""A study file as a list of runs. A method is a name with arguments, a setting a change of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from ..script.spelling import did_you_mean
from ..tasks import SPLITS, TASKS
from .outcome import label_of


# Shared by every run. A batch is spent in two optimizer steps: the second is off-policy, without which methods that
# look at how far the policy moved would never act.
TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "loss_type": "bnpo",
        "temperature": 1.0,
        "num_generations": 16,
        "num_iterations": 1,
        "steps_per_generation": 2,
        "gradient_accumulation_steps": 1,
    }
)
START = "start"  # the name of the run that only makes and measures the policy that all others start from


@dataclass(frozen=True)
class TaskPlan:
    """What a study does with one task.

    Attributes:
        batches: Generation batches a run trains for.
        evaluations: How often a run is evaluated, evenly spaced, the end included.
        splits: The splits to evaluate on.
        problems: Evaluate on the first so many prompts of a split; None for all.
        prompts_per_batch: Prompts a batch, with `num_generations` completions each.
        warmup: Changes of the task's warm-up.
        training: Changes of `TRAINING` and of the task's own.
        methods, seeds: Those of the study to run here; None for all.
        temperatures: Measure the last policy at each of these sampling temperatures, too.
    """

    batches: int = 120
    evaluations: int = 6
    splits: tuple[str, ...] = ("heldout",)
    problems: int | None = None
    prompts_per_batch: int = 48
    warmup: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("batches", 1), ("evaluations", 1), ("problems", 2), ("prompts_per_batch", 1)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= least):
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if self.evaluations > self.batches:
            raise ValueError(
                f"{self.evaluations} evaluations are more than {self.batches} batches: a run is evaluated at most "
                "once a batch. Lower evaluations or raise batches"
            )
        _each_once("splits", self.splits, SPLITS)
        if self.temperatures:
            _each_once("temperatures", self.temperatures)
        if any(not (isinstance(value, (int, float)) and value > 0) for value in self.temperatures):
            raise ValueError(f"temperatures must be numbers above 0, got {list(self.temperatures)}")

    @property
    def evaluate_at(self) -> list[int]:
        """The batches after which a run is evaluated: evenly spaced, ending with the last."""
        return [round(self.batches * (i + 1) / self.evaluations) for i in range(self.evaluations)]


@dataclass(frozen=True)
class RunPlan:
    """One run: what to train, for how long, what to measure. Equal plans are the same run, done once."""

    task: str
    method: str
    setting: dict[str, Any]
    seed: int
    batches: int
    evaluate_at: list[int]
    splits: list[str]
    problems: int | None
    prompts_per_batch: int
    warmup: dict[str, Any]
    arguments: dict[str, Any]
    temperatures: list[float] | None = None  # results of runs that were not asked for them have no such key

    @property
    def label(self) -> str:
        """The method with its setting."""
        return label_of(vars(self))

    @property
    def name(self) -> str:
        """`siren-seed0`: the run's name in folders, unique within its task."""
        if self.method == START:
            return START
        name, wanted = re.sub(r"[^\w.=+-]+", "_", self.label), self.label.replace(" ", "_")
        mark = "" if name == wanted else f"_{hashlib.sha256(self.label.encode()).hexdigest()[:6]}"
        return f"{name}{mark}-seed{self.seed}"

    @property
    def steps_per_batch(self) -> int:
        """Optimizer steps a batch of completions is spent in."""
        return self.passes // self.arguments["gradient_accumulation_steps"]

    @property
    def passes(self) -> int:
        """Forward and backward passes over a batch of completions."""
        return self.arguments["steps_per_generation"] * self.arguments["num_iterations"]

    @property
    def samples_per_pass(self) -> int:
        """Completions in one forward and backward pass."""
        return self.prompts_per_batch * self.arguments["num_generations"] // self.arguments["steps_per_generation"]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, equal after a round trip through JSON."""
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Study:
    """A matrix of runs.

    Attributes:
        name: Its name, by default the file's.
        tasks: Task -> what to do with it.
        methods: Name -> arguments of `EntropyGRPOConfig`; `plain: {}` is GRPO.
        output: Where run folders go, `output/TASK/NAME`.
        results: Where results go, `results/TASK/NAME.json`.
        seeds: Seeds of the runs. The warm-up has its own: all runs of a task start from one model.
        settings: Method -> changes of its arguments, a run each; `{}` is the method as it stands.
        training: Changes of `TRAINING` for every run.
        cache_dir: Where the start policies are kept; None for the user's cache.
    """

    name: str
    tasks: Mapping[str, TaskPlan]
    methods: Mapping[str, Mapping[str, Any]]
    output: Path
    results: Path
    seeds: tuple[int, ...] = (0,)
    settings: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        _each_once("tasks", tuple(self.tasks), tuple(TASKS))
        _each_once("methods", tuple(self.methods))
        for method in self.settings:
            _each_once("settings", (method,), tuple(self.methods))
        if START in self.methods:
            raise ValueError(f"no method can be called {START!r}")
        for plan in self.tasks.values():
            _each_once("methods", plan.methods or tuple(self.methods), tuple(self.methods))
            _each_once("seeds", plan.seeds or self.seeds)

    def starts(self) -> list[RunPlan]:
        """The runs that make and measure the policies that the others start from."""
        return [self._run(task, START, {}, 0, 0) for task in self.tasks]

    def runs(self) -> list[RunPlan]:
        """Every run, all methods of a seed next to each other, so that comparisons can be made early."""
        return [
            self._run(task, method, setting, seed, plan.batches)
            for task, plan in self.tasks.items()
            for seed in plan.seeds or self.seeds
            for method in plan.methods or self.methods
            for setting in self.settings.get(method) or ({},)
        ]

    def _run(self, task: str, method: str, setting: Mapping[str, Any], seed: int, batches: int) -> RunPlan:
        plan, own = self.tasks[task], self.methods.get(method, {})
        return RunPlan(
            task=task,
            method=method,
            setting=dict(setting),
            seed=seed,
            batches=batches,
            evaluate_at=plan.evaluate_at if batches else [0],
            splits=list(plan.splits),
            problems=plan.problems,
            prompts_per_batch=plan.prompts_per_batch,
            warmup={**TASKS[task].warmup, **plan.warmup},
            arguments={**TRAINING, **TASKS[task].training, **self.training, **plan.training, **own, **setting},
            temperatures=list(plan.temperatures) or None,
        )

    def folder(self, run: RunPlan) -> Path:
        """The run's folder."""
        return self.output / run.task / run.name

    def result(self, run: RunPlan) -> Path:
        """The file that the run leaves when it is done."""
        return self.results / run.task / f"{run.name}.json"


def read_study(path: Path, output: Path | None = None, results: Path | None = None) -> Study:
    """The study of a YAML file, whose keys are those of `Study` and `TaskPlan`; `1e-3` is a number in it.

    Raises:
        ValueError: for a file that is no study, a key that none of it knows, a value out of range.
        FileNotFoundError: where there is no such file.
    """
    try:
        given = _numbers(yaml.safe_load(path.read_text(encoding="utf-8")))
        if not isinstance(given, dict):
            raise ValueError("a study is a mapping with the keys tasks, methods, seeds, ...")
        name = str(given.get("name", path.stem))
        folders = {"output": f"runs/{name}", "results": f"results/{name}"}
        given = {"name": name, "tasks": {}, "methods": {}, **folders, **given}
        tasks = {task: TaskPlan(**_known(TaskPlan, plan or {})) for task, plan in given["tasks"].items()}
        methods = {method: arguments or {} for method, arguments in given["methods"].items()}
        places = {"output": output or Path(given["output"]), "results": results or Path(given["results"])}
        return Study(**{**_known(Study, given), **places, "tasks": tasks, "methods": methods})
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error


def _numbers(given: Any) -> Any:
    """With `1e-3` as a number, which is text to YAML, and lists as tuples."""
    if isinstance(given, dict):
        return {key: _numbers(value) for key, value in given.items()}
    if isinstance(given, list):
        return tuple(_numbers(value) for value in given)
    is_number = isinstance(given, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", given)
    return float(given) if is_number else given


def _known(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    allowed = [item.name for item in fields(kind)]
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)}; the keys are {', '.join(allowed)}")
    return dict(given)


def _each_once(name: str, values: Sequence[Any], allowed: Sequence[Any] | None = None) -> None:
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{name} takes at least one value and each only once; got {list(values)}")
    unknown = [value for value in values if allowed is not None and value not in allowed]
    if unknown:
        words, hint = list(map(str, allowed or ())), did_you_mean(str(unknown[0]), map(str, allowed or ()))
        raise ValueError(f"{name} takes {', '.join(words)}; got {', '.join(map(str, unknown))}.{hint}")
