"""What a run of a study measures along training: `evaluations.jsonl`, counts of right answers problem by problem."""

from __future__ import annotations

from pathlib import Path

from ..study.outcome import EVALUATIONS, SPEC, columns
from .json_files import read_jsonl, read_object
from .records import Points, RunLogError


def read_evaluations(folder: Path) -> Points:
    """`heldout/pass_at_k` of a study's run by optimizer step, the policy that it started from first.

    Of several splits the held-out one.

    Raises:
        RunLogError: for files of another kind.
    """
    try:
        plan = read_object(folder / SPEC)["plan"]
        arguments = plan["arguments"]
        passes = arguments["steps_per_generation"] * arguments["num_iterations"]
        start = folder.parent / "start"
        sources = [folder]
        if (start / EVALUATIONS).is_file() and read_object(start / SPEC)["plan"]["warmup"] == plan["warmup"]:
            sources.insert(0, start)
        rows = [row for source in sources for _, row in read_jsonl(source / EVALUATIONS)[0]]
        splits = {row["split"] for row in rows}
        kept = [row for row in rows if row["split"] == ("heldout" if "heldout" in splits else min(splits))]
        return [
            (
                row["batch"] * passes // arguments["gradient_accumulation_steps"],
                {
                    f"heldout/{name.replace('@', '_at_')}": float(values.mean())
                    for name, values in columns(row).items()
                    if name.startswith("pass@")
                },
            )
            for row in kept
        ]
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise RunLogError(f"{folder / EVALUATIONS}: not a study's evaluations ({error!r}).") from error
