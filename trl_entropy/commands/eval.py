"""`trl-entropy eval`: pass@k, maj@k, diversity and entropy of one or several models on a benchmark."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..evaluate.benchmarks import Benchmark
    from ..evaluate.problems import Problem
    from ..evaluate.run import Evaluation
    from ..evaluate.sampling import Engine


DESCRIPTION = """\
Draw n completions of each problem once, grade them once, and compute every figure from them: avg@n, pass@k (unbiased,
exact), maj@k (votes over mathematically equal answers, exact expectation), distinct correct answers, length, truncated
share, token entropy, each with a bootstrap interval over problems. Several models are compared with the first one by a
paired test. A killed evaluation goes on where it stopped when the same command is given again.
"""
EXAMPLES = """\
examples:
  trl-entropy eval --model Qwen/Qwen2.5-Math-7B --benchmark aime24 math500
  trl-entropy eval --model runs/grpo/checkpoint-500 runs/siren/checkpoint-500 --benchmark math500 --n 8 --k 1 8
  trl-entropy eval --model my/model --dataset problems.jsonl --problem-column question --answer-column answer
  trl-entropy eval --model runs/grpo/checkpoint-* --benchmark countdown --seed 0 1 2
  trl-entropy eval --model runs/siren --benchmark math500 --output-dir runs/siren/evaluation  (for its model card)

It writes to --output-dir: results.json (settings, versions, figures, counts of each problem), results.md (the
table), pass_at_k.png and .svg, entropy_reward.jsonl (points that `trl-entropy law` reads), and for each model,
benchmark and seed samples.parquet.
"""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Announce the command and its arguments."""
    parser = subparsers.add_parser(
        "eval",
        help="pass@k, maj@k, diversity and entropy of models on a benchmark",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("what").add_argument
    add("--model", nargs="+", required=True, metavar="ID_OR_PATH", help="Hub ids, local folders or PEFT adapters")
    add(
        "--benchmark",
        nargs="+",
        metavar="NAME",
        help="aime24, aime25, amc23, math500, olympiadbench, minerva, omni_math, gsm8k or countdown, each with its "
        "own n, temperature and length unless given here",
    )
    add("--dataset", metavar="FILE_OR_ID", help="JSON, JSONL, Parquet or CSV file, or a Hub dataset, to read instead")
    add("--dataset-config", metavar="NAME", help="configuration of the Hub dataset")
    add("--split", help="split of the Hub dataset (default: the benchmark's, else test)")
    add("--problem-column", metavar="NAME", help="column with the question")
    add("--answer-column", metavar="NAME", help="column with the gold answer")
    add("--limit", type=int, metavar="N", help="the first N problems only")
    add = parser.add_argument_group("sampling").add_argument
    add("--n", type=int, help="samples a problem")
    add("--k", type=int, nargs="+", help="the k of pass@k and maj@k (default: the powers of two up to n, and n)")
    add("--temperature", type=float, help="0 is greedy, for --n 1")
    add("--top-p", type=float, default=1.0, help="nucleus of the sampling distribution (default: 1, off)")
    add("--max-new-tokens", type=int, help="longest completion; what is longer counts as truncated")
    add("--seed", type=int, nargs="+", default=[0], help="one or several; several are averaged problem by problem")
    add(
        "--prompt",
        metavar="TEMPLATE",
        help="with {problem} in it (default: the benchmark's, which asks for a \\boxed{})",
    )
    add("--system-prompt", metavar="TEXT", help="system message, for models with a chat template")
    add(
        "--chat", choices=("auto", "always", "never"), default="auto", help="apply the chat template (default: if any)"
    )
    add = parser.add_argument_group("engine").add_argument
    add(
        "--engine",
        choices=("auto", "vllm", "transformers"),
        default="auto",
        help="auto: vLLM when it is installed, a GPU is there and no --device is given, else transformers",
    )
    add("--batch-size", type=int, help="rows generated together (default: 64; with vLLM 4096, it batches itself)")
    add("--dtype", default="auto", help="auto (the checkpoint's), bfloat16, float16 or float32")
    add("--device", help="for transformers (default: cuda if there, else cpu)")
    add("--revision", help="branch, tag or commit of a Hub model")
    add("--tensor-parallel-size", type=int, default=1, help="GPUs a model is split over (vLLM)")
    add("--gpu-memory-utilization", type=float, default=0.9, help="share of a GPU's memory (vLLM)")
    add = parser.add_argument_group("output").add_argument
    add("--output-dir", default="eval_results", help="default: eval_results")
    add("--overwrite", action="store_true", help="draw every sample again, whatever is there")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check everything, then load, draw, grade and write. Bad input raises ValueError before any model is loaded."""
    from ..evaluate.models import LazyEngine, check_model
    from ..evaluate.preflight import check_device, check_dtype, check_output
    from ..evaluate.problems import load_problems
    from ..evaluate.run import check_ks
    from ..evaluate.sampling import Sampling

    models = list(dict.fromkeys(args.model))
    for model in models:
        check_model(model)
    root = Path(args.output_dir)
    check_output(root)
    check_dtype(args.dtype)
    check_device(args.device)
    jobs = []
    for benchmark in _benchmarks(args):
        samplings = [
            Sampling(benchmark.n, benchmark.temperature, args.top_p, benchmark.max_new_tokens, seed)
            for seed in dict.fromkeys(args.seed)
        ]
        ks = sorted(set(args.k)) if args.k else _default_ks(benchmark.n)
        check_ks(ks, benchmark.n)
        jobs.append((benchmark, load_problems(benchmark, args.dataset, args.limit), samplings, ks))
    if not args.overwrite:
        _check_earlier(root, {(m, b.name, s.seed) for m in models for b, _, samplings, _ in jobs for s in samplings})
    engine_name = _engine_name(args)
    batch_size = args.batch_size if args.batch_size is not None else 4096 if engine_name == "vllm" else 64
    if batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {batch_size}.")

    evaluations = []
    for model in models:
        engine = LazyEngine(engine_name, lambda model=model: _load(engine_name, model, args))
        for benchmark, problems, samplings, ks in jobs:
            for sampling in samplings:
                evaluations.append(_one(args, root, model, engine, benchmark, problems, sampling, ks, batch_size))
        del engine
        _free_memory()
    _write(root, evaluations, {**vars(args), "engine": engine_name, "batch_size": batch_size})
    return 0


def _check_earlier(root: Path, asked: set[tuple[str, str, int]]) -> None:
    """Raise a ValueError where writing the results would lose those of other models, benchmarks or seeds."""
    import json

    path = root / "results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
        lost = sorted({(run["model"], run["benchmark"], run["seed"]) for run in found} - asked)
    except (ValueError, KeyError, TypeError):  # not ours, or cut off
        lost = [(str(path), "another file", 0)]
    if lost:
        raise ValueError(
            "--output-dir {} holds other results: {} on {}, seed {}. Give another folder, name those models and "
            "benchmarks too, or --overwrite.".format(root, *lost[0])
        )


def _benchmarks(args: argparse.Namespace) -> list[Benchmark]:
    from ..evaluate.benchmarks import BOXED, Benchmark, benchmark_named

    if args.benchmark:
        chosen = [benchmark_named(name) for name in dict.fromkeys(args.benchmark)]
        if args.dataset and (len(chosen) > 1 or chosen[0].grader != "math"):
            raise ValueError("--dataset replaces the data of one mathematical --benchmark, not of several.")
    elif args.dataset:
        name = Path(args.dataset).stem if Path(args.dataset).suffix else args.dataset
        chosen = [Benchmark(name, args.dataset, "test", ("problem", "question", "prompt"), ("answer", "solution"))]
    else:
        raise ValueError("Say what to evaluate on: --benchmark NAME, or --dataset FILE_OR_ID.")
    if args.prompt is not None:
        try:
            asked = args.prompt.format(problem="2 + 2?")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"--prompt {args.prompt!r} is no template ({error!r}): write braces as {{{{ and }}}}."
            ) from error
        if "2 + 2?" not in asked:
            raise ValueError(f"--prompt {args.prompt!r} has no {{problem}} in it. The default is {BOXED!r}.")
    given = {
        "n": args.n,
        "temperature": args.temperature,
        "max_new_tokens": args.max_new_tokens,
        "prompt": args.prompt,
        "split": args.split,
        "config": args.dataset_config,
        "problem_columns": (args.problem_column,) if args.problem_column else None,
        "answer_columns": (args.answer_column,) if args.answer_column else None,
    }
    return [replace(b, **{key: value for key, value in given.items() if value is not None}) for b in chosen]


def _default_ks(n: int) -> list[int]:
    return sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n})


def _engine_name(args: argparse.Namespace) -> str:
    if args.engine == "vllm" and args.device is not None:
        raise ValueError(f"--device {args.device} has no effect on --engine vllm. Leave it out, or take transformers.")
    if args.engine == "transformers" or args.device is not None:
        return "transformers"
    from ..evaluate.vllm_engine import vllm_is_usable

    usable = vllm_is_usable()
    if args.engine == "vllm" and not usable:
        raise ValueError('--engine vllm needs vLLM (pip install ".[vllm]") and a CUDA device.')
    return "vllm" if usable else "transformers"


def _load(name: str, model: str, args: argparse.Namespace) -> Engine:
    common = {"chat": args.chat, "system_prompt": args.system_prompt, "dtype": args.dtype, "revision": args.revision}
    if name == "vllm":
        from ..evaluate.preflight import loading
        from ..evaluate.vllm_engine import VLLMEngine

        with loading(model):
            return VLLMEngine(
                model,
                tensor_parallel_size=args.tensor_parallel_size,
                gpu_memory_utilization=args.gpu_memory_utilization,
                **common,
            )
    from ..evaluate.transformers_engine import load_transformers

    return load_transformers(model, device=args.device, **common)


def _one(
    args: argparse.Namespace,
    root: Path,
    model: str,
    engine: Engine,
    benchmark: Benchmark,
    problems: list[Problem],
    sampling: Any,
    ks: list[int],
    batch_size: int,
) -> Evaluation:
    from ..evaluate.models import fingerprint, slug
    from ..evaluate.outputs import write_samples
    from ..evaluate.run import evaluate

    folder = root / slug(model) / slug(benchmark.name) / f"seed-{sampling.seed}"
    if not args.quiet:
        print(
            f"{model} on {benchmark.name}: {len(problems)} problems x {sampling.n}, seed {sampling.seed}",
            file=sys.stderr,
        )
    settings = {"prompt": benchmark.prompt, "system_prompt": args.system_prompt, "chat": args.chat}
    settings |= {"dtype": args.dtype, "revision": args.revision, "model_sha256": fingerprint(model)}
    evaluation = evaluate(
        engine,
        problems,
        sampling,
        ks,
        grader=benchmark.grader,
        batch_size=batch_size,
        model=model,
        benchmark=benchmark.name,
        folder=folder,
        overwrite=args.overwrite,
        extra_settings=settings,
        progress=not args.quiet,
    )
    write_samples(evaluation, folder / "samples.parquet")
    unreadable = evaluation.unreadable_golds
    if unreadable:
        shown = ", ".join(unreadable[:10]) + (", ..." if len(unreadable) > 10 else "")
        print(
            f"{benchmark.name}: the gold answer of {len(unreadable)} of {len(problems)} problems cannot be read, so "
            f"none of their samples can be right: {shown}.",
            file=sys.stderr,
        )
    return evaluation


def _write(root: Path, evaluations: list[Evaluation], settings: dict[str, Any]) -> None:
    import json

    from rich.console import Console

    from ..evaluate.outputs import law_rows, results
    from ..evaluate.tables import markdown, terminal
    from ..plots.pass_at_k_picture import plot_pass_at_k

    settings = {key: value for key, value in settings.items() if key not in ("run", "command")}
    found = results(evaluations, settings)
    (root / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (root / "results.md").write_text(markdown(found))
    plot_pass_at_k(found, root / "pass_at_k")
    rows = law_rows(evaluations)
    (root / "entropy_reward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    console = Console()
    for table in terminal(found):
        console.print(table)
    console.print("Mean over problems [95 % bootstrap interval].", markup=False, highlight=False)
    if len(rows) < len(found["figures"]):
        print(
            "No token entropy from vLLM at this temperature: entropy_reward.jsonl lacks those points.", file=sys.stderr
        )
    print(f"Written to {root}: results.json, results.md, pass_at_k.png, samples of each run.", file=sys.stderr)


def _free_memory() -> None:
    import gc

    gc.collect()
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
