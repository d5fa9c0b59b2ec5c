"""Which runs a page is of: model, date, duration, steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ..runlog.records import Run


def header_lines(runs: Sequence[Run], most: int = 8) -> list[str]:
    """A line a run: its name, model, when it began, how long it trained, its last step, and where it was resumed."""
    lines = [", ".join(part for part in _parts(run) if part) for run in runs[:most]]
    return [*lines, *([f"and {len(runs) - most} more runs"] if len(runs) > most else [])]


def _parts(run: Run) -> list[str]:
    model, seed = run.settings.get("model"), run.settings.get("seed")
    last = max((series.steps[-1] for series in run.metrics.values()), default=0)
    began, seconds = _times(run)
    return [
        run.name,
        f"model {model}" if model else "",
        f"seed {seed}" if seed is not None else "",
        f"begun {began:%Y-%m-%d %H:%M}" if began else "",
        duration(seconds) if seconds else "",
        f"{last:g} steps",
        *(f"resumed at step {step:g}" for step in run.resumed_at[-1:]),
    ]


def _times(run: Run) -> tuple[datetime | None, float]:
    """When the run's last session began, by its settings, and how many seconds it took so far."""
    began = None
    with suppress(ValueError):
        began = datetime.fromisoformat(str(run.settings.get("started")))
    if "train_runtime" in run.metrics:
        return began, run.metrics["train_runtime"].values[-1]
    source = Path(run.source)
    if began is None or not source.is_file():
        return began, 0.0
    return began, max(0.0, source.stat().st_mtime - began.timestamp())


def duration(seconds: float) -> str:
    """How long, for reading.

    >>> duration(42), duration(4000), duration(100000)
    ('42 s', '1 h 06 min', '27 h 46 min')
    """
    minutes = int(seconds // 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
