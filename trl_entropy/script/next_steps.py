"""What to do with a run that has ended."""

import shlex
from pathlib import Path

from ..evaluate.benchmarks import BENCHMARKS
from .arguments import Arguments


def next_steps(given: Arguments) -> str:
    """The commands that look at a run, measure it as it was trained, and upload it; no upload where it was pushed."""
    folder, held, columns = str(given.args.output_dir), given.monitors.heldout_benchmark, given.columns
    source = ["--benchmark", held or "math500"]
    if held and held not in BENCHMARKS:
        source = ["--dataset", held, "--problem-column", columns.prompt_column]
        source += ["--answer-column", columns.solution_column] if columns.solution_column else []
    if columns.system_prompt:
        source += ["--system-prompt", columns.system_prompt, "--prompt", "{problem}"]
    lines = {
        "its page": ["report", folder],
        "pass@k, maj@k": ["eval", "--model", folder, *source, "--output-dir", str(Path(folder, "evaluation"))],
        "upload": ["push", folder],
    }
    if given.args.push_to_hub:
        del lines["upload"]
    return "\n".join(["Next:", *(f"  {what:<15}trl-entropy {shlex.join(words)}" for what, words in lines.items())])
