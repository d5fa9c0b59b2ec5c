"""The page's tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..law.points import RunLaw
from ..runlog.groups import NOT_THE_EXPERIMENT, Group, end_values, half_width
from ..runlog.records import Run


_OURS = ("cov_", "log_", "heldout_", "epsilon_high")


@dataclass(frozen=True)
class Table:
    """Cells of text. Columns from `numeric_from` on are set as numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    numeric_from: int = 1


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading; a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def summary_table(groups: Sequence[Group]) -> Table:
    """Where each group ended: mean over the last tenth of the run, with the 95 % interval over seeds."""
    keys = [
        key
        for key in ("reward", "eval_reward", "heldout/pass_at_1", "entropy", "completions/mean_length")
        if any(key in run.metrics for group in groups for run in group.runs)
    ]
    rows = []
    for group in groups:
        steps = max((series.steps[-1] for run in group.runs for series in run.metrics.values()), default=0)
        cells = [group.label, str(len(group.runs)), f"{steps:g}"]
        for key in keys:
            values = end_values(group, key)
            text, half = number(float(values.mean()) if len(values) else None), half_width(values)
            cells.append(f"{text} ± {number(half, 2)}" if math.isfinite(half) else text)
        rows.append(cells)
    caption = "Last tenth of each run: mean, ± 95 % interval over seeds where there are several"
    return Table(["experiment", "runs", "steps", *keys], rows, caption)


def law_table(laws: Sequence[RunLaw]) -> tuple[Table, list[str]]:
    """Coefficients with intervals and verdicts, and the reasons for them."""
    rows = [
        [
            law.run.name,
            str(law.fit.points),
            _interval(law.fit.a, law.fit.a_interval),
            _interval(law.fit.b, law.fit.b_interval),
            _interval(law.fit.ceiling, law.fit.ceiling_interval),
            number(law.fit.r2, 2),
            f"{number(law.forecast.overshoot, 2)} (RMSE {number(law.forecast.rmse, 2)})" if law.forecast else "–",
            law.fit.verdict,
        ]
        for law in laws
    ]
    head = ["run", "points", "a", "b", "ceiling b − a", "R²", "forecast − observed", "verdict"]
    reasons = [f"{law.run.name}: {reason}." for law in laws for reason in law.fit.reasons]
    controlled = [law.run.name for law in laws if law.run.method not in ("plain", "unknown")]
    if controlled:
        text = "The law is one of plain runs; where entropy is controlled it is a diagnostic"
        reasons.append(f"{text}: {', '.join(controlled)}.")
    return Table(head, rows, "R = b − a·exp(H), 95 % block-bootstrap intervals"), reasons


def settings_tables(runs: Sequence[Run]) -> tuple[Table | None, Table | None]:
    """The runs' settings side by side: those in which they differ and those of entropy control, and all the others."""
    known = [run for run in runs if run.settings]
    flat = [_flat(run) for run in known]
    keys = sorted({key for settings in flat for key in settings})
    same = NOT_THE_EXPERIMENT - {"seed"}  # names and folders, which differ without a difference
    different = [k for k in keys if k not in same and len({settings.get(k, "–") for settings in flat}) > 1]
    prefixes = (*_OURS, *(f"{method.key}_" for run in known for method in run.methods or ()))
    ours = [k for k in keys if k not in different and (k.startswith(prefixes) or "entropy" in k.split(" ")[0])]

    def table(chosen: Sequence[str], caption: str) -> Table | None:
        rows = [
            [key + (" (differs)" if key in different else ""), *(settings.get(key, "–") for settings in flat)]
            for key in chosen
        ]
        return Table(["setting", *(run.name for run in known)], rows, caption, 99) if rows else None

    rest = [key for key in keys if key not in different and key not in ours]
    first = "Where the runs differ, and what controls or shows entropy" if len(known) > 1 else "Entropy control"
    return table([*different, *ours], first), table(rest, "All other settings that are not TRL's defaults")


def _flat(run: Run) -> dict[str, str]:
    flat: dict[str, Any] = {k: v for k, v in run.settings.items() if k not in ("arguments", "versions", "methods")}
    for part in ("arguments", "versions"):
        if isinstance(run.settings.get(part), dict):
            flat |= {(f"version of {k}" if part == "versions" else k): v for k, v in run.settings[part].items()}
    return {str(k): v if isinstance(v, str) else json.dumps(v, default=str) for k, v in flat.items()}


def _interval(value: float, interval: tuple[float, float]) -> str:
    if not math.isfinite(interval[0]):
        return number(value)
    return f"{number(value)} [{number(interval[0])}, {number(interval[1])}]"
