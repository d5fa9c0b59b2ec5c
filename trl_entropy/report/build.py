"""Put the page together."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..law.points import RunLaw, law_of_run
from ..runlog import Problem, Run, RunLogError, read_runs, unexpected
from ..runlog.groups import Group, group_runs
from ..runlog.records import readable
from .gallery import ACTED, COVARIANCE, SCORE, Gallery, Picture, of_methods, of_most_samples
from .header import header_lines
from .sentences import Finding, findings
from .sheets import Table, law_table, settings_tables, summary_table
from .svg import color_variables
from .tokens import json_island, pack_token_maps


TOKEN_BUDGET = 3_000_000  # bytes of the page's 5 MB
_MOST_PROBLEMS = 50
_ASSETS = Path(__file__).parent / "assets"


@dataclass
class Section:
    """A part of the page, drawn in this order where it has them."""

    name: str
    findings: list[tuple[str, list[Finding]]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    table: Table | None = None
    notes: list[str] = field(default_factory=list)
    folded: Table | None = None
    html: str | None = None


def build_report(
    runs: Sequence[Run], title: str | None = None, problems: Sequence[Problem] = (), refresh: int | None = None
) -> str:
    """One HTML page without a single reference to the network.

    Args:
        runs: At least one; those that differ in the seed only are drawn as one experiment.
        title: Of the page; the experiments' names by default.
        problems: Found before, such as a path that held no run; the runs' own are added.
        refresh: Seconds after which a browser loads the page again.

    A run that cannot be drawn, whatever its files hold, is left out and named among the problems.

    Raises:
        ValueError: If there is no run.
        RunLogError: If none of them can be drawn.
    """
    if not runs:
        raise ValueError("No run given: a report needs at least one.")
    return _page_of(runs, title, problems, refresh)[0]


def _page_of(
    runs: Sequence[Run], title: str | None, problems: Sequence[Problem], refresh: int | None
) -> tuple[str, list[Problem]]:
    """The page of the runs that can be drawn, and the others as problems."""
    try:
        return _build(runs, title, problems, refresh), []
    except Exception as error:  # whatever a foreign log holds, the other runs are drawn
        left_out = _undrawable(runs) or [(run, error) for run in runs]
    found = [unexpected(run, error) for run, error in left_out]
    rest = [run for run in runs if not any(run is other for other, _ in left_out)]
    if not rest:
        raise RunLogError(" ".join(str(problem) for problem in found))
    return _build(rest, title, [*problems, *found], refresh), found


def _undrawable(runs: Sequence[Run]) -> list[tuple[Run, Exception]]:
    """The runs of which no page can be made, each with its error."""
    found = []
    for run in runs:
        try:
            _build([run], None, (), None)
        except Exception as error:
            found.append((run, error))
    return found


def _build(runs: Sequence[Run], title: str | None, problems: Sequence[Problem], refresh: int | None) -> str:
    groups = group_runs(runs)
    runs = [run for group in groups for run in group.runs]
    laws, unfitted = _laws(runs)
    every = [*problems, *(problem for run in runs for problem in run.problems)]
    gallery = Gallery(groups)
    fits, reasons = law_table(laws)
    rows, left_out = pack_token_maps(runs, TOKEN_BUDGET)
    ours, rest = settings_tables(runs)
    several = len(groups) > 1
    sections = [
        Section("In ten seconds", [(group.label if several else "", findings(group)) for group in groups]),
        Section("Entropy and score", pictures=gallery.curves(SCORE)),
        Section(
            "The entropy law",
            pictures=[gallery.law(laws)] if laws else [],
            table=fits if laws else None,
            notes=reasons + unfitted,
        ),
        Section("pass@k", pictures=gallery.curves(of_most_samples(groups)) + gallery.pass_at_k()),
        Section("Covariance", pictures=gallery.curves(COVARIANCE)),
        Section("What the method did", pictures=gallery.curves([*ACTED, *of_methods(groups)])),
        Section(
            "Comparison",
            pictures=gallery.ends(SCORE) if several else [],
            table=summary_table(groups) if several else None,
        ),
        Section("Tokens", html=_tokens(left_out) if rows else None),
        Section("Settings", table=ours, folded=rest),
        Section("Not read", notes=_listed(every)),
    ]
    data = json_island({"runs": [run.name for run in runs], "rows": rows})
    title = title or _title(groups)
    return _page(title, header_lines(runs), [s for s in sections if _filled(s)], data, refresh)


def read_paths(paths: Sequence[str | Path]) -> tuple[list[Run], list[RunLogError]]:
    """The runs at several paths, and of each path without one, why.

    Raises:
        RunLogError: If none of the paths holds a run.
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
    return runs, failed


def page_of_paths(
    paths: Sequence[str | Path], title: str | None = None, refresh: int | None = None
) -> tuple[str, list[Problem | RunLogError]]:
    """The page of the runs at some paths, and what could not be read; args and errors as in [`write_report`]."""
    runs, failed = read_paths(paths)
    missing = [Problem(Path(str(error).split(": ", 1)[0]), None, str(error).split(": ", 1)[1]) for error in failed]
    page, undrawn = _page_of(runs, title, missing, refresh)
    return page, [*failed, *undrawn, *(problem for run in runs for problem in run.problems)]


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
    page, problems = page_of_paths(paths, title)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return out, problems


def _laws(runs: Sequence[Run]) -> tuple[list[RunLaw], list[str]]:
    laws, notes = [], []
    for run in runs:
        try:
            laws.append(law_of_run(run))
        except (RunLogError, ValueError, ArithmeticError) as error:
            notes.append(str(error))
    return laws, notes


def _title(groups: Sequence[Group], most: int = 3) -> str:
    names = [group.label for group in groups]
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def _listed(problems: Sequence[Problem]) -> list[str]:
    more = len(problems) - _MOST_PROBLEMS
    return [*map(str, problems[:_MOST_PROBLEMS]), *([f"and {more} more"] if more > 0 else [])]


def _tokens(left_out: int) -> str:
    note = f"<p>{left_out} completions were left out to keep this page small; the runs' folders have all.</p>"
    return _asset("tokens.html") + (note if left_out else "")


def _filled(section: Section) -> bool:
    return any(value for name, value in vars(section).items() if name != "name")


def _page(title: str, lines: list[str], sections: Sequence[Section], data: str, refresh: int | None) -> str:
    script = _asset("report.js")
    light, dark = color_variables()
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html").render(
        title=title,
        lines=lines,
        sections=sections,
        refresh=refresh,
        style=_asset("report.css").replace("/*light*/", light).replace("/*dark*/", dark),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=data,
    )
    return readable(page) + "\n"


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
