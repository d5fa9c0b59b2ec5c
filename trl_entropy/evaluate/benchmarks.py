"""The benchmarks known by name: where they lie, how they are asked and sampled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


BOXED = "{problem}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
Grader = Literal["math", "countdown"]


@dataclass(frozen=True)
class Benchmark:
    """A set of problems and how the papers sample it.

    A built-in set has no `hub_id`. Of `problem_columns` and `answer_columns` the first that exists is used. `prompt`
    is a template with `{problem}`.
    """

    name: str
    hub_id: str
    split: str
    problem_columns: tuple[str, ...] = ("problem", "question")
    answer_columns: tuple[str, ...] = ("answer",)
    config: str | None = None
    prompt: str = BOXED
    n: int = 8
    temperature: float = 0.6
    max_new_tokens: int = 3072
    grader: Grader = "math"


BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        # n and temperature of the SIREN paper (arXiv 2509.25133, evaluation)
        Benchmark("aime24", "HuggingFaceH4/aime_2024", "train", n=32),
        Benchmark("aime25", "math-ai/aime25", "test", n=32),
        Benchmark("amc23", "math-ai/amc23", "test", n=32),
        Benchmark("math500", "HuggingFaceH4/MATH-500", "test"),
        Benchmark(
            "olympiadbench",
            "Hothan/OlympiadBench",
            "train",
            answer_columns=("final_answer",),
            config="OE_TO_maths_en_COMP",
        ),
        # ours
        Benchmark("minerva", "math-ai/minervamath", "test"),
        Benchmark("omni_math", "KbsdJames/Omni-MATH", "test"),
        Benchmark("gsm8k", "openai/gsm8k", "test", config="main", max_new_tokens=1024),
        Benchmark(
            "countdown",
            "",
            "heldout",
            prompt="{problem}",
            n=16,
            temperature=1.0,
            max_new_tokens=11,
            grader="countdown",
        ),
    )
}


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        ValueError: for another name; it lists the known ones.
    """
    if name not in BENCHMARKS:
        raise ValueError(
            f"There is no benchmark named {name!r}; the known ones are {', '.join(BENCHMARKS)}. For problems of "
            "your own use --dataset FILE_OR_HUB_ID --problem-column NAME --answer-column NAME."
        )
    return BENCHMARKS[name]
