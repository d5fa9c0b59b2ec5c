"""Numerical error of the fused nucleus head and of its plain twin, both against a float64 truth of the same inputs.

    python scripts/bench_error.py          # some minutes on two CPU cores, 8 GB of memory
    python scripts/bench_error.py --quick  # a small head: does it run?

An error is the norm of the difference over the norm of the truth. The gradients are taken of one output at a time:
in a sum, that of the log-probability would hide the others'. The table goes into docs/benchmarks.md.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from bench_contestants import Problem
from bench_report import add_report_options, describe_machine, print_progress, report_folder, table, write_section

from trl_entropy.functional import fused_log_probs
from trl_entropy.functional.head.dense import dense_log_probs
from trl_entropy.functional.head.fused_torch import padded


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
OUTPUTS = ("log-probability", "entropy", "nucleus entropy")
TILE_ROWS = 16  # so that the weight's gradient is added up over several tiles, as in training


@dataclass
class Errors:
    """One (fused, twin) pair a seed: of every quantity the errors, and the tokens whose nucleus has another size."""

    outputs: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    gradients: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def other_sizes(self) -> tuple[int, int]:
        """Over all seeds."""
        ours, twin = zip(*self.sizes, strict=True)
        return sum(ours), sum(twin)


def run(head: Callable, problem: Problem, tile_bytes: int | None = None) -> tuple[torch.Tensor, ...]:
    tensors = (problem.hidden, problem.weight, None, problem.targets)
    return head(*tensors, 1.0, problem.top_p, tile_bytes=tile_bytes, return_nucleus_size=True)


def gradients(output: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, ...]:
    """By the hidden states and by the weight, of a sum in which every token has a factor of its own."""
    scale = torch.linspace(0.5, 1.5, len(output), dtype=output.dtype, device=output.device)
    return torch.autograd.grad((scale * output).sum(), (problem.hidden, problem.weight), retain_graph=True)


def relative(value: torch.Tensor, truth: torch.Tensor) -> float:
    return ((value - truth).norm() / truth.norm()).item()


def measure(problem: Problem, errors: Errors) -> None:
    """Add the errors of one seed."""
    hidden, weight = (x.detach().double().requires_grad_() for x in (problem.hidden, problem.weight))
    exact = Problem(hidden, weight, problem.targets, problem.top_p)
    truth, twin = run(dense_log_probs, exact), run(dense_log_probs, problem)
    ours = run(fused_log_probs, problem, TILE_ROWS * padded(len(weight)) * problem.hidden.dtype.itemsize)
    for name, a, b, true in zip(OUTPUTS, ours, twin, truth, strict=False):
        errors.outputs[name].append((relative(a, true), relative(b, true)))
        # one output's gradients at a time: the weight's takes a gigabyte in float64
        grads = zip(gradients(a, problem), gradients(b, problem), gradients(true, exact), strict=True)
        for leaf, (grad_a, grad_b, grad_true) in zip(("hidden states", "weight"), grads, strict=True):
            pair = relative(grad_a, grad_true), relative(grad_b, grad_true)
            errors.gradients[f"gradient of {name} by {leaf}"].append(pair)
    errors.sizes.append((int((ours[3] != truth[3]).sum()), int((twin[3] != truth[3]).sum())))


def ratios(pairs: list[tuple[float, float]]) -> list[float]:
    """Fused / twin, ascending."""
    return sorted(ours / twin for ours, twin in pairs)


def rows_of(errors: Errors) -> list[list[str]]:
    """The lines of one table."""
    lines = []
    for name, pairs in (errors.outputs | errors.gradients).items():
        ours, twin = (statistics.median(column) for column in zip(*pairs, strict=True))
        found = ratios(pairs)
        spread = f"{found[0]:.3f} to {found[-1]:.3f}"
        lines.append([name, f"{ours:.2e}", f"{twin:.2e}", f"{statistics.median(found):.3f}", spread])
    ours, twin = errors.other_sizes()
    return [*lines, ["tokens whose nucleus has another size, all seeds", f"{ours}", f"{twin}", "", ""]]


def goals(errors: Errors, dtype: str) -> list[list[str]]:
    """What was promised: the worst output and the worst gradient; to two decimals, since rounding is noise."""
    verdicts = []
    for kind in ("outputs", "gradients"):
        found = {name: statistics.median(ratios(pairs)) for name, pairs in getattr(errors, kind).items()}
        worst = max(found, key=found.__getitem__)
        reached = "yes" if round(found[worst], 2) <= 1 else "no"
        verdicts.append([f"error, fused / twin, {dtype}: {worst}", f"{found[worst]:.2f}", "1.00", reached])
    ours, twin = errors.other_sizes()
    name = f"tokens whose nucleus has another size, {dtype}"
    return [*verdicts, [name, f"{ours}", f"{twin} (twin)", "yes" if ours <= twin else "no"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--width", type=int, default=896)
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--seeds", type=int, default=7)
    add_report_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.quick:
        args.tokens, args.width, args.vocab, args.seeds = 32, 64, 4000, 2

    text, verdicts = [], []
    shape = (args.tokens, args.width, args.vocab)
    for name, dtype in DTYPES.items():
        errors = Errors()
        for seed in range(args.seeds):
            print_progress(f"{name}, seed {seed + 1}/{args.seeds}")
            measure(Problem.make(*shape, dtype, args.device, seed), errors)
        title = "N = {:,}, D = {}, V = {:,}, ".format(*shape) + f"{name}, {args.device}, medians of {args.seeds} seeds"
        columns = ("relative error of", "fused", "plain twin", "fused / twin", "smallest to largest")
        text.append(table(title, rows_of(errors), columns))
        verdicts += goals(errors, name)
        print_progress(text[-1], last=True)
    text.append(table("Goals, worst of each kind", verdicts, ("figure", "measured", "at most", "reached")))
    print_progress(text[-1], last=True)
    command = " ".join(["python", "scripts/bench_error.py", *sys.argv[1:]])
    parts = [describe_machine(args.device, args.threads), args.note, *text, f"Command: `{command}`"]
    path = report_folder(args) / "benchmarks.md"
    write_section(path, f"error-{args.device}", "\n\n".join(part for part in parts if part))


if __name__ == "__main__":
    main()
