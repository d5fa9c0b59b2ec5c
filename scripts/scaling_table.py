"""What entropy control costs at 32B, on paper: bytes that travel for a generation, and memory a GPU.

    python scripts/scaling_table.py

Nothing here is measured. `tests/distributed/test_traffic.py` holds `selection_bytes` against the bytes that the code
hands to its collectives.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """A training run. The defaults are KL-Cov's for 32B (arXiv 2505.22617): 256 prompts x 8, 8 updates."""

    processes: int
    parameters: float = 32.8e9  # Qwen2.5-32B
    layers: int = 64
    width: int = 5120
    vocabulary: int = 152_064
    sequences: int = 2048
    completion: int = 8192
    prompt: int = 1024
    ratio: float = 2e-4
    updates: int = 8

    @property
    def tokens(self) -> int:
        """Completion tokens of a generation, all processes, at most."""
        return self.sequences * self.completion


def selection_bytes(method: str, tokens: int, fullest: int, ratio: float, processes: int) -> int:
    """Bytes that one process receives for the selection of one generation.

    `fullest` is the number of tokens of the process that has most. Both methods: three float64 sums (the means of
    log-probability and advantage). Clip-Cov: one whole number a process. KL-Cov: one whole number and the largest
    covariances, float32, of each process: as many as are to be selected, never more than it has tokens.
    """
    means = 3 * 8
    if method == "clip_cov":
        return means + 8 * processes
    count = max(1, int(ratio * tokens + 1e-9))
    return means + (8 + 4 * min(count, fullest)) * processes


def gradient_bytes(run: Run) -> float:
    """Bytes that one process sends to reduce bfloat16 gradients once (reduce-scatter; DDP's all-reduce is twice that).

    The lower bound of an update's traffic: ZeRO-3 and FSDP2 also gather the weights twice for every micro-batch.
    """
    return 2 * run.parameters * (run.processes - 1) / run.processes


def memory_gib(run: Run, strategy: str, micro_batch: int = 1) -> dict[str, float]:
    """GiB a GPU: model states (16 bytes a parameter in mixed precision), activations with checkpointing, the head."""
    shards = {"ddp": (1, 1, 1), "zero2": (1, run.processes, run.processes)}
    weights, gradients, optimizer = shards.get(strategy, (run.processes,) * 3)
    states = run.parameters * (2 / weights + 2 / gradients + 12 / optimizer)
    tokens = micro_batch * (run.prompt + run.completion)
    gathered = 0 if weights == 1 else 2 * run.vocabulary * run.width  # the largest unit, gathered whole
    parts = {
        "model states": states,
        "activations": 2.0 * tokens * run.width * run.layers,
        "head's tile and gathered embedding": 2.0**30 + gathered,
        "ours: a few (B, T) float32 tensors": 4.0 * 6 * run.tokens / run.processes,
    }
    return {name: size / 2**30 for name, size in parts.items()}


def main() -> None:
    print("| GPUs | selection | bytes a generation | a share of the gradients of its updates |\n|---|---|---|---|")
    for processes in (16, 64, 256, 1024):
        for method, ratio in (("clip_cov", 2e-4), ("kl_cov", 2e-4), ("kl_cov", 2e-3), ("kl_cov", 0.2)):
            run = Run(processes, ratio=ratio)
            size = selection_bytes(method, run.tokens, run.tokens // processes, ratio, processes)
            share = size / (run.updates * gradient_bytes(run))
            print(f"| {processes} | {method}, ratio {ratio:g} | {size:,} | {100 * share:.5f} % |")
    names = list(memory_gib(Run(16), "zero3"))
    print(f"\n| GPUs | strategy | {' | '.join(names)} | GiB in all |\n|---|---|{'---|' * (len(names) + 1)}")
    for processes in (8, 16, 32, 64):
        for strategy in ("zero2", "zero3 or fsdp2"):
            parts = memory_gib(Run(processes), strategy)
            cells = " | ".join(f"{size:.2f}" for size in parts.values())
            print(f"| {processes} | {strategy} | {cells} | {sum(parts.values()):.1f} |")


if __name__ == "__main__":
    main()
