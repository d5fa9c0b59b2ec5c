"""Time and memory of the fused nucleus head against TRL's head and the published ways to nucleus entropy.

    python scripts/bench_head.py          # about half an hour on two quiet CPU cores; on a GPU, the GPU's own sizes
    python scripts/bench_head.py --quick  # one minute, small sizes: does it run?

Every repeat runs all heads once, one after the other, so that a slow spell of the machine hits them alike. Reported
are medians over the repeats, and medians of the ratio to TRL's head within a repeat. Peak memory is taken in a process
of its own. The tables go into docs/benchmarks.md and the figure beside it.
"""

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from bench_contestants import HEADS, Problem, forward_backward, products
from bench_report import (
    add_report_options,
    describe_machine,
    draw,
    print_progress,
    report_folder,
    table,
    write_section,
)


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TRL, OURS, WITHOUT = "TRL's head", "fused nucleus head", "fused, without nucleus"
PLAIN, TEXTBOOK, PUBLISHED = (
    "full logits, without nucleus",
    "full logits, sort (textbook)",
    "full logits, published SIREN",
)
FLOOR = "matrix products alone"


def timed(function: Callable[[], None], device: str) -> dict[str, float]:
    """Wall and processor seconds of one call."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measure(args: argparse.Namespace, tokens: int, width: int, vocab: int, heads: list[str]) -> dict:
    """Alternating repeats: `{head: [{"wall": s, "cpu": s}, ...]}`; a head that does not fit into memory is dropped."""
    problem = Problem.make(tokens, width, vocab, DTYPES[args.dtype], args.device)
    calls: dict[str, Callable[[], None]] = {FLOOR: lambda: products(problem)}
    calls |= {name: lambda head=HEADS[name]: forward_backward(head, problem) for name in heads}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in calls}
    for repeat in range(-1, args.repeats):  # the first, number -1, warms up
        for name in list(calls):
            print_progress(f"N={tokens} D={width} V={vocab}, repeat {repeat + 1}/{args.repeats}: {name}")
            try:
                run = timed(calls[name], args.device)
            except torch.OutOfMemoryError:
                print_progress(f"N={tokens} D={width} V={vocab}: {name} does not fit into memory", last=True)
                del calls[name], runs[name]
                problem.hidden.grad = problem.weight.grad = None
                continue
            if repeat >= 0:
                runs[name].append(run)
    return runs


def peak_memory(args: argparse.Namespace, tokens: int, width: int, vocab: int, head: str) -> float | None:
    """MiB that one step takes beyond weight, hidden states and their gradients, in a fresh process."""
    command = [sys.executable, __file__, "--child", head, "--tokens", str(tokens), "--width", str(width)]
    command += ["--vocab", str(vocab), "--dtype", args.dtype, "--device", args.device, "--threads", str(args.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print_progress(f"memory of {head} at N={tokens}: process ended with {done.returncode}", last=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def child(args: argparse.Namespace) -> None:
    """Print the peak of one head, in MiB."""
    problem = Problem.make(args.tokens[0], args.width[0], args.vocab, DTYPES[args.dtype], args.device)
    own = sum(t.numel() * t.element_size() for t in (problem.hidden, problem.weight))
    gc.collect()
    if args.device == "cuda":
        before = torch.cuda.memory_allocated()
        forward_backward(HEADS[args.child], problem)
        peak = torch.cuda.max_memory_allocated()
    else:
        # the small run loads what the first use of every operation loads
        forward_backward(HEADS[args.child], Problem.make(8, args.width[0], 12_000, DTYPES[args.dtype], "cpu"))
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        forward_backward(HEADS[args.child], problem)
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print((peak - before - own) / 2**20)


def median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def ratio(runs: dict, name: str, base: str, key: str = "wall") -> float:
    """Median over the repeats of the ratio within a repeat."""
    return statistics.median(a[key] / b[key] for a, b in zip(runs[name], runs[base], strict=True))


def marginal(runs: dict, name: str, without: str, key: str = "wall") -> float:
    """Median over the repeats of with minus without nucleus entropy, seconds."""
    return statistics.median(a[key] - b[key] for a, b in zip(runs[name], runs[without], strict=True))


def rows_of(runs: dict, memory: dict[str, float | None], tokens: int, width: int, vocab: int, size: int) -> list[list]:
    """The lines of one table."""
    lines = []
    without = {OURS: WITHOUT, TEXTBOOK: PLAIN, PUBLISHED: PLAIN}
    for name in runs:
        seconds = median(runs[name], "wall")
        extra = f"{marginal(runs, name, without[name]):.2f}" if without.get(name) in runs else ""
        peak = memory.get(name)
        trl_peak = memory.get(TRL)
        flops = 8 * tokens * width * vocab / seconds / 1e12
        # products written, read and overwritten by the fold, read by two products; the weight, read thrice
        moved = 7 * tokens * vocab * size + 3 * vocab * width * size + vocab * width * 8
        lines.append(
            [
                name,
                f"{seconds:.3g}",
                f"{median(runs[name], 'cpu'):.3g}",
                f"{ratio(runs, name, TRL):.2f}",
                f"{ratio(runs, FLOOR, name):.0%}",
                extra,
                "" if peak is None else f"{peak:,.0f}",
                "" if peak is None or trl_peak is None else f"{peak / trl_peak:.2f}",
                f"{flops:.3g}",
                f"{moved / seconds / 1e9:.3g}",
            ]
        )
    return lines


def goals(runs: dict, memory: dict[str, float | None], tokens: int, device: str) -> list[tuple[str, float, float]]:
    """What was promised: name, figure, bound."""
    limit = 1.15 if device == "cpu" else 1.10
    found = [(f"time, x TRL's head (N = {tokens})", ratio(runs, OURS, TRL), limit)]
    for name, bound in ((PUBLISHED, 1 / 5), (TEXTBOOK, 1 / 3)):
        if name in runs and OURS in runs and WITHOUT in runs:
            share = marginal(runs, OURS, WITHOUT) / marginal(runs, name, PLAIN)
            found.append((f"cost of the nucleus, x that of {name} (N = {tokens})", share, bound))
    ours, theirs, published = (memory.get(name) for name in (OURS, TRL, PUBLISHED))
    if ours is not None and theirs:
        found.append((f"peak memory, x TRL's head (N = {tokens})", ours / theirs, 1.10))
    if ours is not None and published and tokens >= 2048:
        found.append((f"peak memory, x published SIREN (N = {tokens})", ours / published, 1 / 5))
    return found


def sweep(args: argparse.Namespace, figure: Path) -> None:
    """Cost against the number of tokens and against the vocabulary."""
    width = args.width[0]
    tokens = [64, 128, 256, 512] if args.device == "cpu" else [1024, 2048, 4096, 8192]
    vocabularies = [16_384, 32_768, 65_536, 131_072]
    if args.quick:
        tokens, vocabularies = tokens[:2], vocabularies[:2]
    names = [FLOOR, TRL, OURS]
    by_tokens = [measure(args, n, width, vocabularies[-1 if not args.quick else 0], [TRL, OURS]) for n in tokens]
    by_vocab = [measure(args, tokens[-1], width, v, [TRL, OURS]) for v in vocabularies]
    lines = {
        "tokens N": (tokens, {k: [median(r[k], "wall") for r in by_tokens] for k in names}),
        "vocabulary V": (vocabularies, {k: [median(r[k], "wall") for r in by_vocab] for k in names}),
    }
    draw(lines, figure, f"Forward and backward of the head, D = {width}, {args.dtype}, {args.device}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="bfloat16" if on_gpu else "float32", choices=list(DTYPES))
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192, 32_768] if on_gpu else [512, 2048])
    parser.add_argument("--width", type=int, nargs="+", default=[896, 3584] if on_gpu else [896])
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--heads", nargs="+", default=list(HEADS), choices=list(HEADS), metavar="HEAD")
    parser.add_argument("--no-sweep", action="store_true", help="skip the figure")
    parser.add_argument("--no-memory", action="store_true", help="skip the peak memory")
    add_report_options(parser)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        return child(args)
    if args.quick:
        args.tokens, args.width, args.vocab, args.repeats = [64], [128], 12_000, 1
    docs = report_folder(args)

    text, promised = [describe_machine(args.device, args.threads), args.note], []
    for width in args.width:
        for tokens in args.tokens:
            runs = measure(args, tokens, width, args.vocab, args.heads)
            memory = {} if args.no_memory else {h: peak_memory(args, tokens, width, args.vocab, h) for h in args.heads}
            size = DTYPES[args.dtype].itemsize
            lines = rows_of(runs, memory, tokens, width, args.vocab, size)
            title = (
                f"N = {tokens:,}, D = {width}, V = {args.vocab:,}, {args.dtype}, {args.device}, {args.repeats} repeats"
            )
            text.append(table(title, lines))
            promised += goals(runs, memory, tokens, args.device)
            print_progress(text[-1], last=True)
    verdicts = [
        [name, f"{figure:.2f}", f"{bound:.2f}", "yes" if figure <= bound else "no"] for name, figure, bound in promised
    ]
    text.append(table("Goals", verdicts, ("figure", "measured", "at most", "reached")))
    print_progress(text[-1], last=True)
    figure = docs / "images" / f"head_cost_{args.device}.png"
    if not args.no_sweep:
        sweep(args, figure)
    if figure.exists():
        text.append(f"![Cost against tokens and vocabulary]({figure.relative_to(docs)})")
    command = " ".join(["python", "scripts/bench_head.py", *sys.argv[1:]])
    text.append(f"Command: `{command}`")
    write_section(docs / "benchmarks.md", f"head-{args.device}", "\n\n".join(part for part in text if part))


if __name__ == "__main__":
    main()
