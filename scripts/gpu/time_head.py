"""The head in bfloat16 at the shapes of three Qwen2.5 models: time, memory, rates, and the goals."""

import gc
from importlib.util import find_spec

import torch
from bench_contestants import HEADS, Problem, forward_backward, products
from bench_head import FLOOR, OURS, PUBLISHED, TEXTBOOK, TRL, WITHOUT, marginal, median, ratio, timed
from gpu_results import attempt, finish, goal, record
from gpu_stage import DEVICE, left, peak_mib, size


# Model, tokens, width, vocabulary, and whether the slow published ways take part
SHAPES = size(
    [
        ("0.5B", 8192, 896, 151_936, True),
        ("7B", 8192, 3584, 152_064, False),
        ("1.5B", 8192, 1536, 151_936, False),
        ("0.5B", 32_768, 896, 151_936, False),
        ("7B", 32_768, 3584, 152_064, False),
    ],
    [("tiny", 16, 16, 11_000, True)],
)
REPEATS = size(5, 1)


def add_libraries() -> None:
    """Heads of two libraries where they are installed: log-probabilities or their mean, no entropy."""
    if find_spec("cut_cross_entropy"):
        from cut_cross_entropy import linear_cross_entropy  # type: ignore

        HEADS["cut-cross-entropy"] = lambda p: (linear_cross_entropy(p.hidden, p.weight, p.targets, reduction="none"),)
    if find_spec("liger_kernel"):
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy as liger  # type: ignore

        HEADS["Liger"] = lambda p: (liger(p.hidden, p.weight, p.targets),)
    missing = [name for name in ("cut_cross_entropy", "liger_kernel") if not find_spec(name)]
    record("contestants that are not installed", names=", ".join(missing) or "none")


def problem_on_device(tokens: int, width: int, vocab: int) -> Problem:
    """As `Problem.make`, drawn on the device: a CPU takes seconds for a large weight."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    spread = torch.logspace(0, 1.5, tokens, device=DEVICE)
    spread = spread[torch.randperm(tokens, generator=generator, device=DEVICE)]
    hidden = torch.randn(tokens, width, generator=generator, device=DEVICE) * spread.unsqueeze(1)
    weight = torch.randn(vocab, width, generator=generator, device=DEVICE) * width**-0.5
    targets = torch.randint(vocab, (tokens,), generator=generator, device=DEVICE)
    return Problem(hidden.bfloat16().requires_grad_(), weight.bfloat16().requires_grad_(), targets)


def measure(problem: Problem, heads: list[str]) -> dict[str, list[dict[str, float]]]:
    """Alternating repeats after one that warms up; a head that fails or does not fit is recorded and left out."""
    calls = {FLOOR: lambda: products(problem)}
    calls |= {name: lambda name=name: forward_backward(HEADS[name], problem) for name in heads}
    runs = {name: [] for name in calls}
    for repeat in range(-1, REPEATS):
        for name in list(calls):
            run = attempt(f"{name}, N = {len(problem.targets):,}", lambda name=name: timed(calls[name], DEVICE))
            if run is None:
                del calls[name], runs[name]
                problem.hidden.grad = problem.weight.grad = None
                torch.cuda.empty_cache()
            elif repeat >= 0:
                runs[name].append(run)
    return runs


def one_shape(model: str, tokens: int, width: int, vocab: int, published: bool) -> None:
    heads = [name for name in HEADS if published or name not in (PUBLISHED, TEXTBOOK)]
    problem = problem_on_device(tokens, width, vocab)
    runs = measure(problem, heads)
    memory = {}
    for name in runs:
        if name != FLOOR:
            memory[name] = peak_mib(lambda name=name: forward_backward(HEADS[name], problem))
    moved = 7 * tokens * vocab * 2 + 3 * vocab * width * 2 + vocab * width * 8
    for name in runs:
        took = median(runs[name], "wall")
        record(
            name,
            model=model,
            tokens=tokens,
            width=width,
            vocab=vocab,
            ms=1e3 * took,
            x_trl=ratio(runs, name, TRL) if TRL in runs else None,
            floor=ratio(runs, FLOOR, name),
            peak_mib=memory.get(name),
            tflop_per_s=8 * tokens * width * vocab / took / 1e12,
            gb_per_s=moved / took / 1e9,
        )
    where = f"{model}, N = {tokens:,}"
    if OURS in runs and WITHOUT in runs:
        goal(f"nucleus / head ({where})", marginal(runs, OURS, WITHOUT) / median(runs[OURS], "wall"), 0.10)
        goal(f"head / its four products ({where})", ratio(runs, OURS, FLOOR), 1 / 0.7)
    if memory.get(TRL) and memory.get(OURS):
        goal(f"head / TRL's head, memory ({where})", memory[OURS] / memory[TRL], 1.10)
    if TRL in runs and OURS in runs:
        goal(f"head / TRL's head, time ({where})", ratio(runs, OURS, TRL), 1.10)


attempt("libraries", add_libraries)
for shape in SHAPES:
    if left() > 3:
        attempt(f"head {shape}", lambda shape=shape: one_shape(*shape))
        gc.collect()
        torch.cuda.empty_cache()
    else:
        record(f"no time for {shape}", kind="failed")
finish()
