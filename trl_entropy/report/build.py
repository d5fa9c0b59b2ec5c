"""Put the page together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from ..law.points import RunLaw, law_of_run
from ..runlog import Problem, Run, RunLogError, read_runs, unexpected
from ..runlog.groups import Group, group_runs
from .gallery import comparison_figures, curve_figures, dynamics_part, grid, law_figure, swatches
from .sections import law_table, problems_list, settings_table, summary_table
from .svg import color_variables
from .tokens import json_island, pack_token_maps


TOKEN_BUDGET = 3_000_000  # bytes of the page's 5 MB


def build_report(runs: Sequence[Run], title: str | None = None, problems: Sequence[Problem] = ()) -> str:
    """One HTML page without a single reference to the network.

    Args:
        runs: At least one; those that differ in the seed only are drawn as one experiment with an interval.
        title: Of the page; the runs' names by default.
        problems: Found before, such as a path that held no run; the runs' own are added.

    A run that cannot be drawn, whatever its files hold, is left out and named among the problems.

    Raises:
        ValueError: If there is no run.
        RunLogError: If none of them can be drawn.
    """
    if not runs:
        raise ValueError("No run given: a report needs at least one.")
    return _page_of(runs, title, problems)[0]


def _page_of(runs: Sequence[Run], title: str | None, problems: Sequence[Problem]) -> tuple[str, list[Problem]]:
    """The page of the runs that can be drawn, and the others as problems."""
    try:
        return _build(runs, title, problems), []
    except Exception as error:  # whatever a foreign log holds, the other runs are drawn
        left_out = _undrawable(runs) or [(run, error) for run in runs]
    found = [unexpected(run, error) for run, error in left_out]
    rest = [run for run in runs if not any(run is other for other, _ in left_out)]
    if not rest:
        raise RunLogError(" ".join(str(problem) for problem in found))
    return _build(rest, title, [*problems, *found]), found


def _undrawable(runs: Sequence[Run]) -> list[tuple[Run, Exception]]:
    """The runs of which no page can be made, each with its error."""
    found = []
    for run in runs:
        try:
            _build([run], None, ())
        except Exception as error:
            found.append((run, error))
    return found


def _build(runs: Sequence[Run], title: str | None, problems: Sequence[Problem]) -> str:
    groups = group_runs(runs)
    runs = [run for group in groups for run in group.runs]
    laws, notes = _laws(runs)
    every = [*problems, *(problem for run in runs for problem in run.problems)]
    title = title or "Entropy report: " + ", ".join(group.label for group in groups)
    sections = [("Summary", summary_table(groups))]
    curves = curve_figures(groups)
    if curves:
        sections.append(("Curves", grid(curves)))
    if len(groups) > 1:
        sections.append(("Comparison", grid(comparison_figures(groups))))
    if laws:
        sections.append(("The entropy law", law_figure(laws, groups) + law_table(laws) + notes))
    elif notes:
        sections.append(("The entropy law", notes))
    dynamics = "".join(_dynamics(group, f"d{i}") for i, group in enumerate(groups))
    if dynamics:
        sections.append(("Dynamics", dynamics))
    rows, left_out = pack_token_maps(runs, TOKEN_BUDGET)
    if rows:
        sections.append(("Tokens", _token_section(left_out)))
    sections.append(("Settings", settings_table(runs)))
    if every:
        sections.append(("Not read", problems_list(every)))
    data = {"runs": [run.name for run in runs], "rows": rows}
    return _page(title, swatches(groups), sections, json_island(data))


def write_report(
    paths: Sequence[str | Path], out: str | Path, title: str | None = None
) -> tuple[Path, list[Problem | RunLogError]]:
    """Read runs and write their page.

    Args:
        paths: Of runs, as `trl_entropy.runlog.read_runs` takes them.
        out: The HTML file.
        title: Of the page.

    Returns:
        The file, and what could not be read: the page was drawn without it and says so.

    Raises:
        RunLogError: If none of the paths holds a run.

    Example:
        ```python
        write_report(["out/plain", "out/siren"], "report.html")
        ```
    """
    runs: list[Run] = []
    failed: list[RunLogError] = []
    for path in paths:
        try:
            runs += read_runs(path)
        except RunLogError as error:
            failed.append(error)
        except Exception as error:  # whatever a foreign file holds, the others are drawn
            failed.append(RunLogError(f"{path}: {type(error).__name__} ({error}); not read"))
    if not runs:
        raise RunLogError(" ".join(str(error) for error in failed))
    missing = [Problem(Path(str(error).split(": ", 1)[0]), None, str(error).split(": ", 1)[1]) for error in failed]
    page, undrawn = _page_of(runs, title, missing)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return out, [*failed, *undrawn, *(problem for run in runs for problem in run.problems)]


def _laws(runs: Sequence[Run]) -> tuple[list[RunLaw], str]:
    laws, notes = [], []
    for run in runs:
        try:
            laws.append(law_of_run(run))
        except (RunLogError, ValueError, ArithmeticError) as error:
            notes.append(f"<li>{escape(str(error))}</li>")
    return laws, f"<ul>{''.join(notes)}</ul>" if notes else ""


def _dynamics(group: Group, prefix: str) -> str:
    first = next((run for run in group.runs if run.dynamics), None)
    return dynamics_part(first, prefix) if first is not None else ""


def _token_section(left_out: int) -> str:
    note = f"<p>{left_out} completions were left out to keep this page small; the runs' folders have all.</p>"
    return _asset("tokens.html") + (note if left_out else "")


def _page(title: str, subtitle: str, sections: Sequence[tuple[str, str]], data: str) -> str:
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    light, dark = color_variables()
    style = _asset("report.css").replace("/*light*/", light).replace("/*dark*/", dark)
    # Nothing may be fetched, and no script may run but the page's own
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    names = [(f"s{i}", name, body) for i, (name, body) in enumerate(sections)]
    links = "".join(f'<li><a href="#{anchor}">{escape(name)}</a></li>' for anchor, name, _ in names)
    bodies = "".join(
        f'<section id="{anchor}" aria-labelledby="{anchor}-h"><h2 id="{anchor}-h">{escape(name)}</h2>{body}</section>'
        for anchor, name, body in names
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<a class="skip" href="#{names[0][0]}">Skip to the content</a>'
        f'<header><h1>{escape(title)}</h1><p>{subtitle}</p><nav aria-label="Sections"><ul>{links}</ul></nav></header>'
        f"<main>{bodies}</main>"
        f'<script type="application/json" id="data">{data}</script><script>{script}</script></body></html>\n'
    )


def _asset(name: str) -> str:
    return files("trl_entropy.report").joinpath("assets", name).read_text(encoding="utf-8")
