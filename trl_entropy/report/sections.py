"""The page's parts that are text and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ..law.points import RunLaw
from ..runlog.groups import Group, half_width, last_values
from ..runlog.records import Problem, Run


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, numeric_from: int = 1) -> str:
    """An HTML table; cells are escaped. Columns from `numeric_from` on are set as numbers."""

    def cell(i: int, text: str, tag: str) -> str:
        kind = ' class="n"' if i >= numeric_from else ""
        scope = ' scope="row"' if tag == "td" and i == 0 else ""
        tag = "th" if scope else tag
        return f"<{tag}{kind}{scope}>{escape(text)}</{tag}>"

    header = "".join(cell(i, text, "th").replace("<th", '<th scope="col"', 1) for i, text in enumerate(head))
    body = "".join("<tr>" + "".join(cell(i, text, "td") for i, text in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def number(value: float | None, digits: int = 3) -> str:
    """A figure for reading; a dash for none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def summary_table(groups: Sequence[Group]) -> str:
    """Where each group ended: mean over the last tenth of the run, with the 95 % interval over seeds."""
    keys = [k for k in ("reward", "eval_reward", "entropy", "completions/mean_length") if _logged(groups, k)]
    rows = []
    for group in groups:
        steps = max((series.steps[-1] for run in group.runs for series in run.metrics.values()), default=0)
        cells = [group.label, str(len(group.runs)), str(steps)]
        for key in keys:
            values = last_values(group, key)
            half = float(half_width(values)) if len(values) else math.nan
            text = number(float(values.mean())) if len(values) else "–"
            cells.append(f"{text} ± {number(half, 2)}" if math.isfinite(half) else text)
        rows.append(cells)
    caption = "Last tenth of each run: mean, ± 95 % interval over seeds where there are several"
    return table(["experiment", "runs", "steps", *keys], rows, caption)


def law_table(laws: Sequence[RunLaw]) -> str:
    """Coefficients with intervals and verdicts; under it the reasons."""
    rows = []
    for law in laws:
        fit, forecast = law.fit, law.forecast
        rows.append(
            [
                law.run.name,
                str(fit.points),
                _interval(fit.a, fit.a_interval),
                _interval(fit.b, fit.b_interval),
                _interval(fit.ceiling, fit.ceiling_interval),
                number(fit.r2, 2),
                f"{number(forecast.overshoot, 2)} (RMSE {number(forecast.rmse, 2)})" if forecast else "–",
                fit.verdict,
            ]
        )
    head = ["run", "points", "a", "b", "ceiling b − a", "R²", "forecast − observed", "verdict"]
    reasons = [f"{law.run.name}: {reason}." for law in laws for reason in law.fit.reasons]
    controlled = [law.run.name for law in laws if law.run.method not in ("plain", "unknown")]
    if controlled:
        reasons.append(
            f"The law is one of plain runs; where entropy is controlled it is a diagnostic: {', '.join(controlled)}."
        )
    listed = "<ul>" + "".join(f"<li>{escape(reason)}</li>" for reason in reasons) + "</ul>" if reasons else ""
    return table(head, rows, "R = b − a·exp(H), 95 % block-bootstrap intervals") + listed


def settings_table(runs: Sequence[Run]) -> str:
    """The arguments of the runs side by side; those in which they differ come first and are called so."""
    known = [run for run in runs if run.settings]
    if not known:
        return "<p>No settings.json in the runs' folders.</p>"
    flat = [_flat(run) for run in known]
    keys = sorted({key for settings in flat for key in settings})
    differing = [key for key in keys if len({settings.get(key, "–") for settings in flat}) > 1]
    rows = [
        [key + (" (differs)" if key in differing and len(known) > 1 else ""), *(s.get(key, "–") for s in flat)]
        for key in (*differing, *(k for k in keys if k not in differing))
    ]
    return table(["setting", *(run.name for run in known)], rows, "Settings that are not TRL's defaults", 99)


def problems_list(problems: Sequence[Problem]) -> str:
    """What could not be read, by file and line."""
    shown = "".join(f"<li>{escape(str(problem))}</li>" for problem in problems[:50])
    more = f"<li>and {len(problems) - 50} more</li>" if len(problems) > 50 else ""
    return f"<ul>{shown}{more}</ul>"


def _flat(run: Run) -> dict[str, str]:
    settings = dict(run.settings)
    flat: dict[str, Any] = {k: v for k, v in settings.items() if k not in ("arguments", "versions")}
    for part in ("arguments", "versions"):
        if isinstance(settings.get(part), dict):
            flat.update({(f"version of {k}" if part == "versions" else k): v for k, v in settings[part].items()})
    return {str(k): v if isinstance(v, str) else json.dumps(v, default=str) for k, v in flat.items()}


def _interval(value: float, interval: tuple[float, float]) -> str:
    if not math.isfinite(interval[0]):
        return number(value)
    return f"{number(value)} [{number(interval[0])}, {number(interval[1])}]"


def _logged(groups: Sequence[Group], key: str) -> bool:
    return any(key in run.metrics for group in groups for run in group.runs)
