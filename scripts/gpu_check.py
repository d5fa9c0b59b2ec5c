"""Eight minutes on a GPU: prove and measure everything that a CPU cannot, in one command.

    python scripts/gpu_check.py --minutes 8        # on a machine with an NVIDIA GPU, torch and transformers
    python scripts/gpu_check.py --dry-run          # every stage on a CPU with tiny sizes, below three minutes
    python scripts/gpu_check.py --show runs/gpu    # write summary.md again from what is on disk

The stages run in order of worth, each in a process of its own with a time limit of its own. Each result is on disk as
soon as it is measured: whatever ends the check, `summary.md` and `results.jsonl` in the output folder hold all before.
Packages that the machine lacks come from `gpu-wheels/`, which `make gpu-wheels` fills, into a private folder; the
machine's own packages stay as they are. Needs no network. Exit status: 0 if no stage failed or was cut off, else 1.
"""

import argparse
import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "scripts" / "gpu"
sys.path.insert(0, str(TOOLS))
from gpu_results import LOG, RESULTS, append, read, states, write_summary  # noqa: E402


@dataclass(frozen=True)
class Stage:
    """One process: the command's words after the Python that runs it, and its limit in seconds."""

    name: str
    title: str
    limit: float
    command: tuple[str, ...]


def tool(name: str, title: str, limit: float, *words: str) -> Stage:
    return Stage(name, title, limit, (str(TOOLS / words[0]), *words[1:]))


GPU_TESTS = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", "-p", "gpu_results",
             "tests/functional/test_on_gpu.py")  # fmt: skip
ONE_RANK = ("-m", "torch.distributed.run", "--nproc_per_node", "1", str(TOOLS / "train_smol.py"), "one_rank")
# In order of worth. The limits are for the worst case: together they exceed the time, and the last stages give way
STAGES = (
    tool("install", "Missing packages from wheels", 60, "install_wheels.py"),
    tool("machine", "The machine, its copy and product rates", 60, "see_machine.py"),
    Stage("kernels", "Every kernel against its plain twin and a float64 truth", 130, GPU_TESTS),
    tool("head", "Time and memory of the head", 90, "time_head.py"),
    tool("step", "Time and memory of a loss step", 80, "time_step.py"),
    tool("train", "SmolLM2-135M trained: bfloat16 against float32, full and LoRA, resumption", 120, "train_smol.py"),
    tool("launch", "Launch settings, timed", 50, "tune_launch.py"),
    Stage("one_rank", "One rank on NCCL", 45, ONE_RANK),
    tool("trace", "Profile of the head", 30, "trace_head.py"),
    tool("bounds", "compute-sanitizer on the kernels", 60, "check_bounds.py"),
    tool("vllm", "Generation with vLLM", 90, "try_vllm.py"),
    tool("study", "The study's queue, for what time is left", float("inf"), "continue_study.py"),
)


def run_stage(stage: Stage, limit: float, out: Path, environment: dict[str, str]) -> None:
    """Note `passed`, `failed` or `cut off`; at the limit the process and all it has started are ended."""
    append(out / RESULTS, {"event": "begin", "stage": stage.name, "limit": round(limit, 1)})
    write_summary(out)
    start, before = time.monotonic(), _cpu_seconds()
    with (out / LOG).open("ab") as log:
        log.write(f"\n=== {stage.name}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, *stage.command],
            cwd=ROOT,
            env=environment | {"GPU_CHECK_STAGE": stage.name, "GPU_CHECK_SECONDS": str(limit)},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            state = "passed" if process.wait(limit) == 0 else f"failed ({process.returncode})"
        except subprocess.TimeoutExpired:
            state = "cut off"
        finally:
            _end_group(process)
    spent = {"seconds": round(time.monotonic() - start, 1), "cpu": round(_cpu_seconds() - before, 1)}
    append(out / RESULTS, {"event": "end", "stage": stage.name, "state": state, **spent})
    write_summary(out)


def _end_group(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def environment_for(out: Path, work: Path, dry: bool, wheels: Path) -> dict[str, str]:
    """What the stages find: packages, where results go, and where everything else does."""
    private = work / "site-packages"  # dill pickles by value what lies outside a folder of this name
    paths = [str(path) for path in (ROOT, ROOT / "scripts", TOOLS, private)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "GPU_CHECK_OUT": str(out),
        "GPU_CHECK_WORK": str(work),
        "GPU_CHECK_WHEELS": str(wheels),
        "GPU_CHECK_PRIVATE": str(private),
        "GPU_CHECK_DRY": "1" if dry else "",
    }
    if dry:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"OMP_NUM_THREADS": environment.get("OMP_NUM_THREADS", "2")}
    return environment


def check(stages: tuple[Stage, ...], minutes: float, out: Path, dry: bool, wheels: Path) -> int:
    """Run the stages as long as there is time; 0 if none failed or was cut off."""
    end = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    if (out / RESULTS).exists():
        raise SystemExit(f"{out} holds the results of another check. Give another folder with --out.")
    command = " ".join(["python", "scripts/gpu_check.py", *sys.argv[1:]])
    plan = {stage.name: stage.title for stage in stages}
    append(out / RESULTS, {"event": "plan", "command": command, "dry": dry, "minutes": minutes, "stages": plan})
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        environment = environment_for(out.resolve(), Path(work), dry, wheels.resolve())
        for stage in stages:
            left = end - time.monotonic()
            if left < 1:
                break
            run_stage(stage, min(stage.limit, left), out, environment)
            state = states(read(out))[stage.name]["state"]
            print(f"{stage.name}: {state}, {max(0, end - time.monotonic()):.0f} s left", flush=True)
    write_summary(out)
    print(f"See {out / 'summary.md'}")
    good = ("passed", "skipped")
    finished = [stage["state"] in good for stage in states(read(out)).values()]
    # the study takes all that is left: that it is cut off is no failure
    return 0 if all(done or name == "study" for done, name in zip(finished, plan, strict=True)) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [stage.name for stage in STAGES]
    parser.add_argument("--minutes", type=float, default=8, help="time for everything (default: 8)")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument("--stages", nargs="+", choices=names, default=names, metavar="STAGE", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="a new folder (default: runs/gpu)")
    parser.add_argument("--wheels", type=Path, default=ROOT / "gpu-wheels", help="default: gpu-wheels")
    parser.add_argument("--show", type=Path, metavar="OUT", help="only write the summary of this folder again")
    parser.add_argument("--docs", action="store_true", help="put the summary into docs/benchmarks.md as well")
    args = parser.parse_args()
    status = 0
    if args.show is None:
        chosen = tuple(stage for stage in STAGES if stage.name in args.stages)
        status = check(chosen, args.minutes, args.out, args.dry_run, args.wheels)
    folder = args.show or args.out
    if not (folder / RESULTS).is_file():
        parser.error(f"{folder} holds no {RESULTS}; --show wants the --out of a check.")
    write_summary(folder)
    if args.show:
        print((folder / "summary.md").read_text())
    if args.docs:
        sys.path.insert(0, str(ROOT / "scripts"))
        from bench_report import write_section

        write_section(ROOT / "docs" / "benchmarks.md", "gpu", (folder / "summary.md").read_text())
    return status


if __name__ == "__main__":
    sys.exit(main())
