"""One evaluation: a model on a benchmark with one seed, drawn once, graded once."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .benchmarks import Grader
from .problems import Problem
from .sampling import Completion, Engine, Sampling, plan, row_seed
from .scores import problem_figures, summary
from .store import SampleStore
from .verdicts import Grade, grade


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: samples and grades problem by problem, per-problem figures and their summary."""

    model: str
    benchmark: str
    seed: int
    problems: list[Problem]
    completions: list[list[Completion]]
    grades: list[list[Grade]]
    figures: dict[str, np.ndarray]

    @property
    def summary(self) -> dict[str, dict[str, float]]:
        """Mean over problems of every figure, with its interval."""
        return summary(self.figures)

    @property
    def unreadable_golds(self) -> list[str]:
        """Ids of the problems whose gold answer the parser cannot read: none of their samples can be right."""
        pairs = zip(self.problems, self.grades, strict=True)
        return [problem.id for problem, group in pairs if any(g.verdict == "unparsed_gold" for g in group)]


def draw(
    engine: Engine,
    problems: Sequence[Problem],
    sampling: Sampling,
    batch_size: int,
    store: SampleStore | None = None,
    progress: bool = False,
) -> list[list[Completion]]:
    """n completions of each problem. A store is written to batch by batch; what it holds is not drawn again."""
    from tqdm import tqdm

    samples = store.samples if store is not None else {}
    every = [(i, j) for i in range(len(problems)) for j in range(sampling.n)]
    done = sum(row in samples for row in every)
    if done == len(every):  # nothing left to draw: the engine need not even load its model
        return [[samples[i, j] for j in range(sampling.n)] for i in range(len(problems))]
    lengths = engine.lengths([problem.prompt for problem in problems])
    with tqdm(total=len(every), initial=done, unit="sample", disable=not progress, file=sys.stderr) as bar:
        for batch in plan(lengths, sampling.n, batch_size):
            missing = [row for row in batch if row not in samples]
            if not missing:
                continue
            # The whole batch is drawn again, so that a resumed evaluation has the samples of an uninterrupted one.
            drawn = engine.generate(
                [problems[i].prompt for i, _ in batch], sampling, [row_seed(sampling.seed, i, j) for i, j in batch]
            )
            found = dict(zip(batch, drawn, strict=True))
            if store is not None:
                store.add(missing, [found[row] for row in missing])
            else:
                samples.update(found)
            bar.update(len(missing))
    return [[samples[i, j] for j in range(sampling.n)] for i in range(len(problems))]


def evaluate(
    engine: Engine,
    problems: Sequence[Problem],
    sampling: Sampling,
    ks: Sequence[int],
    grader: Grader = "math",
    batch_size: int = 64,
    model: str = "model",
    benchmark: str = "problems",
    folder: Path | None = None,
    overwrite: bool = False,
    extra_settings: dict[str, Any] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Draw, grade and measure.

    Args:
        ks: the k of pass@k and maj@k, each in 1..n.
        batch_size: rows generated together. Part of what decides the samples of `TransformersEngine`.
        model, benchmark: names for the tables.
        folder: where the samples go, and are looked for; None keeps them in memory.
        overwrite, extra_settings: see `SampleStore`.

    Example:
        ```python
        engine = TransformersEngine(model, tokenizer)
        problems = load_problems(benchmark_named("countdown"), limit=100)
        sampling = Sampling(n=8, temperature=1.0, max_new_tokens=16)
        result = evaluate(engine, problems, sampling, ks=[1, 8], grader="countdown")
        result.summary["pass@8"]["mean"]
        ```
    """
    check_ks(ks, sampling.n)
    store = None
    if folder is not None:
        settings = {**asdict(sampling), "engine": engine.name, "batch_size": batch_size, "model": model}
        settings |= {"benchmark": benchmark, "problems": [p.id for p in problems]}
        settings |= {"problems_sha256": _digest(problems), **(extra_settings or {})}
        store = SampleStore(folder, settings, overwrite)
    completions = draw(engine, problems, sampling, batch_size, store, progress)
    grades = grade(problems, [[c.text for c in group] for group in completions], grader)
    figures = problem_figures(grades, completions, ks)
    return Evaluation(model, benchmark, sampling.seed, list(problems), completions, grades, figures)


def _digest(problems: Sequence[Problem]) -> str:
    """SHA-256 of what is asked, in order: id, prompt and extra of each problem. A gold decides no sample."""
    asked = [[problem.id, problem.prompt, dict(problem.extra)] for problem in problems]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def check_ks(ks: Sequence[int], n: int) -> None:
    """Raise a ValueError unless every k lies in 1..n."""
    bad = [k for k in ks if not 1 <= k <= n]
    if bad or not ks:
        raise ValueError(f"k must lie in 1..n = {n}, got {bad or 'none'}. Draw more samples or ask for smaller k.")
