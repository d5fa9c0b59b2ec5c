"""A long run on the built-in task: does memory grow, and do the processes still hold the same weights at the end?

    python scripts/long_run.py --steps 2000 --processes 2 --output outputs/long_run
    python scripts/long_run.py --quick  # eight steps from a model that knows nothing: does it run?

Two processes on gloo, SIREN and KL-Cov on (off with --plain, for comparison), the task's smallest batch. Each process
notes its resident memory after every optimizer step. Writes memory.csv, memory.png and result.json, prints a table,
and exits with 1 when memory grew or the weights differ. A quick run is too short to say anything of memory.
"""

import argparse
import csv
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import TrainerCallback


# Allowed growth of resident memory from the second quarter of the run to the last, of their medians
GROWTH_LIMIT = 0.02


class MemoryLog(TrainerCallback):
    """Appends step, seconds and resident MiB of this process to a CSV file."""

    def __init__(self, path: Path):
        self.path, self.started = path, time.monotonic()
        path.write_text("step,seconds,mib\n")

    def on_step_end(self, args, state, control, **kwargs):
        with open(self.path, "a") as file:
            file.write(f"{state.global_step},{time.monotonic() - self.started:.2f},{resident_mib():.2f}\n")


def resident_mib() -> float:
    """Resident memory of this process, MiB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def work(start: str, steps: int, output: Path, plain: bool) -> None:
    """One process of the run."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer
    from trl_entropy.tasks import countdown_dataset, countdown_reward

    torch.set_num_threads(1)
    methods: dict[str, Any] = {} if plain else {"siren_coef": 0.3, "kl_cov_ratio": 0.02}
    trainer = EntropyGRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(start),
        processing_class=AutoTokenizer.from_pretrained(start),
        reward_funcs=countdown_reward,
        train_dataset=countdown_dataset("train"),
        args=EntropyGRPOConfig(
            output_dir=str(output),
            max_steps=steps,
            per_device_train_batch_size=8,
            num_generations=8,
            steps_per_generation=2,
            gradient_accumulation_steps=1,
            max_completion_length=11,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            loss_type="dapo",
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            **methods,
        ),
    )
    rank = trainer.accelerator.process_index
    trainer.add_callback(MemoryLog(output / f"memory{rank}.csv"))
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    facts = {
        "world_size": trainer.accelerator.num_processes,
        "steps": trainer.state.global_step,
        "weights": weights_hash(trainer.accelerator.unwrap_model(trainer.model_wrapped)),
        "anchor": trainer.methods[0].state.anchor,
        "entropy": [log[0]["entropy"], log[-1]["entropy"]],
        "reward": [log[0]["reward"], log[-1]["reward"]],
    }
    (output / f"rank{rank}.json").write_text(json.dumps(facts))
    trainer.accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)  # gloo's destructor sometimes hangs


def launch(start: str, args: argparse.Namespace) -> float:
    """Run the processes to their end; returns seconds."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(args.processes)]
    command += ["--master_port", str(port), __file__, "--worker", start, "--steps", str(args.steps)]
    command += ["--output", str(args.output), *(["--plain"] if args.plain else [])]
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, env=environment)
    return time.monotonic() - began


def read(path: Path) -> list[tuple[int, float]]:
    """Steps and MiB of one process."""
    with open(path) as file:
        return [(int(row["step"]), float(row["mib"])) for row in csv.DictReader(file)]


def growth(memory: list[tuple[int, float]]) -> tuple[float, float]:
    """Median MiB of the second and of the last quarter of the run: the first quarter fills caches."""
    values, quarter = [mib for _, mib in memory], len(memory) // 4
    return median(values[quarter : 2 * quarter]), median(values[-quarter:])


def plot(memories: dict[int, list[tuple[int, float]]], path: Path) -> None:
    """Resident memory of every process over the steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for rank, memory in memories.items():
        axes.plot(*zip(*memory, strict=True), label=f"process {rank}", linestyle=("-", "--", ":", "-.")[rank % 4])
    axes.set(xlabel="optimizer step", ylabel="resident memory (MiB; axis not from 0)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("outputs/long_run"))
    parser.add_argument("--plain", action="store_true", help="all methods off")
    parser.add_argument("--quick", action="store_true", help="a few steps; memory is shown and not judged")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.steps, args.output, args.plain)
    from trl_entropy.tasks.warmup import WarmupSettings, load_or_warm_up

    args.output.mkdir(parents=True, exist_ok=True)
    if args.quick:
        args.steps = 8
        start, _ = load_or_warm_up(WarmupSettings(steps=2), args.output)
    else:
        start, _ = load_or_warm_up(WarmupSettings())
    seconds = launch(str(start), args)
    ranks = [json.loads((args.output / f"rank{r}.json").read_text()) for r in range(args.processes)]
    memories = {r: read(args.output / f"memory{r}.csv") for r in range(args.processes)}
    plot(memories, args.output / "memory.png")
    sound = True
    print("| process | steps | MiB, 2nd quarter | MiB, last quarter | growth | weights (SHA-256) |")
    print("|---|---|---|---|---|---|")
    for rank, facts in enumerate(ranks):
        early, late = growth(memories[rank])
        sound &= facts["world_size"] == args.processes and facts["weights"] == ranks[0]["weights"]
        sound &= args.quick or late / early - 1 < GROWTH_LIMIT
        cells = (rank, facts["steps"], f"{early:.1f}", f"{late:.1f}", f"{100 * (late / early - 1):+.2f} %")
        print(f"| {' | '.join(map(str, cells))} | {facts['weights'][:16]} |")
    print(
        f"{seconds:.0f} s; token entropy {ranks[0]['entropy']}, reward {ranks[0]['reward']} at the start and the end"
    )
    (args.output / "result.json").write_text(
        json.dumps({"seconds": seconds, "sound": sound, "ranks": ranks}, indent=2)
    )
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
