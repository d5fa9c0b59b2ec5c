"""Rebuilds the generated parts of docs/evidence.md, and its pictures, from `results/`, without training.

A part stands between `<!-- generated: NAME STUDY TASK -->` and `<!-- end -->`; its names are those of `PARTS`.
`python -m trl_entropy.study.evidence`, which is `make evidence`, writes them all again; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..plots.explosion_picture import LABELS, plot_explosion
from ..plots.frontier_picture import plot_frontier, plot_temperatures, styles
from ..runlog.run_methods import name_of
from .compared import compared
from .frontier import choose
from .outcome import Outcome, read_outcomes


PAGE, RESULTS = Path("docs/evidence.md"), Path("results")
_PART = re.compile(r"(<!-- generated: (\w+) ([\w-]+) ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MOST_LINES = 6  # of a picture: more are not told apart
Results = Mapping[str, Any]


def rebuilt(page: str, results: Path) -> str:
    """The page with every generated part made from the results that there are.

    Raises:
        ValueError: for the name of a part that there is not.
    """

    def replace(match: re.Match) -> str:
        opening, part, study, task, end = match.groups()
        if part not in PARTS:
            raise ValueError(f"there is no generated part {part!r}; the parts are {', '.join(PARTS)}")
        return f"{opening}\n{_text(part, study, task, results)}\n\n{end}"

    return _PART.sub(replace, page)


def _text(part: str, study: str, task: str, results: Path) -> str:
    split = "selection" if part == "choice" else "heldout"
    outcomes = _outcomes(results / study)
    if not any(run.plan["task"] == task and run.plan["batches"] and run.evaluations(split) for run in outcomes):
        return f"*No results yet: `trl-entropy study configs/study/{study}.yaml`.*"
    if part == "runs":
        return _runs([run for run in outcomes if run.plan["task"] == task])
    text = PARTS[part](_compared(results / study, task, split))
    shown = {"explosion": ", ".join(LABELS.values()), "temperatures": "pass@16 against pass@1 at each temperature"}
    if part not in shown or text.startswith("*"):
        return text
    return f"![{task}: {shown[part]}](images/{part}_{study}_{task}.png)\n\n{text}"


@cache
def _outcomes(folder: Path) -> tuple[Outcome, ...]:
    return tuple(read_outcomes(folder))


@cache
def _compared(folder: Path, task: str, split: str) -> Results:
    return compared(_outcomes(folder), task, split)


def _runs(outcomes: list[Outcome]) -> str:
    versions = sorted({f"{name} {version}" for run in outcomes for name, version in run.content["versions"].items()})
    seeds = sorted({run.plan["seed"] for run in outcomes if run.plan["batches"]})
    hours = sum(run.content["seconds"] for run in outcomes) / 3600
    longest = max(run.plan["batches"] for run in outcomes)
    devices = sorted({run.content["device"] for run in outcomes})
    return (
        f"{len(outcomes) - 1} runs of up to {longest} batches, seeds {', '.join(map(str, seeds))}; {hours:.1f} hours "
        f"of {', '.join(devices)}; {', '.join(versions)}."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(found: Mapping[str, float | None], sign: str = "") -> str:
    if found["value"] is None:
        return "–"
    low, high = found["low"], found["high"]
    interval = "no interval" if low is None or high is None else f"{low:{sign}.3f}, {high:{sign}.3f}"
    return f"{found['value']:{sign}.3f} [{interval}]"


def _named(results: Results) -> dict[str, str]:
    return {label: style.label for label, style in styles(results["methods"]).items()}


def _frontier(results: Results) -> str:
    """The primary figure, best first; then the differences at the ends of the common range and at equal tokens."""
    rows = []
    for label in _by_gap(results):
        found = results["methods"][label]
        figures = [_figure(found["frontier"][name], "+") for name in ("mean_gap", "top_gap", "best_gap")]
        top = found["frontier"]["top"]["value"]
        tokens = _figure(found["equal_tokens"]["pass@16"], "+")
        rows.append([_named(results)[label], *figures[:2], "–" if top is None else f"{top:.3f}", figures[2], tokens])
    head = ["method", "mean over the common range", "at its upper end", "pass@1 there", "at plain's best pass@1"]
    return _table([*head, "at equal tokens"], rows)


def _by_gap(results: Results) -> list[str]:
    gaps = {
        label: found["frontier"]["mean_gap"]["value"]
        for label, found in results["methods"].items()
        if "frontier" in found
    }
    return sorted(gaps, key=lambda label: (gaps[label] is None, -(gaps[label] or 0.0)))


def _ends(results: Results) -> str:
    """Every method after the last batch."""
    names = ["pass@1", "pass@4", "pass@16", "maj@16", "distinct@16"]
    start = results["start"]
    rows = [["start", f"{start['pass@1']['value']:.3f}", *(_figure(start[name]) for name in names), "1.00"]]
    for label, found in results["methods"].items():
        end = found["path"][-1]
        kept = f"{end['entropy'] / start['entropy']:.2f}"
        rows.append([_named(results)[label], _figure(found["best"]), *(_figure(end[name]) for name in names), kept])
    return _table(["method", "best pass@1", *names, "entropy, of the start's"], rows)


def _temperatures(results: Results) -> str:
    """The last policies at every temperature, and pass@16 where cooling gives plain's pass@1."""
    measured = {name: found for name, found in results["methods"].items() if "temperatures" in found}
    if not measured:
        return "*The runs were not measured at other temperatures.*"
    lines = {"start": results["start_temperatures"]}
    lines |= {_named(results)[label]: found["temperatures"] for label, found in measured.items()}
    rows = [
        [name, *(f"{point['pass@1']['value']:.3f} / {point['pass@16']['value']:.3f}" for point in points[::-1])]
        for name, points in lines.items()
    ]
    heads = [f"{point['temperature']:g}" for point in next(iter(measured.values()))["temperatures"][::-1]]
    gaps = [
        [_named(results)[label], *(_figure(found["cooled"][name], "+") for name in ("gap", "mean_gap", "best_gap"))]
        for label, found in measured.items()
        if "cooled" in found
    ]
    reference = name_of(results["compared_with"])
    head = [
        f"pass@16 against {reference}'s",
        f"where it has {reference}'s pass@1 of temperature 1",
        "mean, both at any temperature",
        f"where it has {reference}'s best pass@1 at any",
    ]
    table = _table(["pass@1 / pass@16 at temperature", *heads], rows)
    return f"{table}\n\n{_table(head, gaps)}" if gaps else table


def _settings(results: Results) -> str:
    """What each method was given beside what plain was."""
    common = results["methods"].get(results["compared_with"], {"arguments": {}})["arguments"]
    rows = []
    for label, found in results["methods"].items():
        own = {key: value for key, value in found["arguments"].items() if common.get(key) != value}
        given = " ".join(f"`{key}={value}`" for key, value in own.items()) or "none"
        rows.append([_named(results)[label], given, str(len(found["seeds"])), f"{found['hours']:.1f}"])
    return _table(["method", "arguments", "seeds", "hours"], rows)


def _choice(results: Results) -> str:
    """Every setting tried, on the selection split, and which of a method's is chosen."""
    reference = results["methods"][results["compared_with"]]["best"]["value"]
    groups: dict[str, dict[str, tuple[float, float]]] = {}
    for label, found in results["methods"].items():
        gap = found["frontier"]["mean_gap"]["value"] if "frontier" in found else 0.0
        groups.setdefault(label.split(" ")[0], {})[label] = (found["best"]["value"], -1.0 if gap is None else gap)
    rows = []
    for method, tried in groups.items():
        best = choose(reference, tried, by_gap=method != results["compared_with"])
        rows += [
            [label, f"{x:.3f}", f"{gap:+.3f}", "**chosen**" * (label == best)] for label, (x, gap) in tried.items()
        ]
    return _table(["setting", "best pass@1", "mean gap in pass@16", ""], rows)


def _explosion(results: Results) -> str:
    """Means at the start, after half of the batches and after all of them."""
    rows = []
    for label, found in results["methods"].items():
        path = found["path"]
        points = [path[i] for i in (0, len(path) // 2, -1)]
        rows.append([_named(results)[label], *(" → ".join(f"{p[name]:.3g}" for p in points) for name in LABELS)])
    batches = [point["batch"] for point in path]
    head = f"start → batch {batches[len(batches) // 2]} → batch {batches[-1]}"
    return _table([head, *LABELS.values()], rows)


PARTS: dict[str, Callable[[Results], str]] = {
    "runs": lambda _: "",
    "frontier": _frontier,
    "ends": _ends,
    "temperatures": _temperatures,
    "settings": _settings,
    "choice": _choice,
    "explosion": _explosion,
}


def pictures(page: str, results: Path, folder: Path) -> list[Path]:
    """Draw `frontier_STUDY_TASK.png` for every frontier table of the page, plain and the five best by mean gap,
    `temperatures_STUDY_TASK.png` and `explosion_STUDY_TASK.png` for every part of that name."""
    written = []
    for part, study, task in re.findall(r"<!-- generated: (\w+) ([\w-]+) ([\w-]+) -->", page):
        if part not in ("frontier", "temperatures", "explosion") or _text(part, study, task, results).startswith("*"):
            continue
        found, target = _compared(results / study, task, "heldout"), folder / f"{part}_{study}_{task}.png"
        if part == "explosion":
            written += plot_explosion(found, target)
        elif part == "temperatures":
            written += plot_temperatures(found, target)
        else:
            written += plot_frontier(found, [found["compared_with"], *_by_gap(found)[: _MOST_LINES - 1]], target)
    return written


def main(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Write the page's generated parts and pictures again."""
    text = rebuilt(page.read_text(encoding="utf-8"), results)
    page.write_text(text, encoding="utf-8")
    for path in pictures(text, results, page.parent / "images"):
        print(path)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
