"""Evaluations beside a model, as its card shows them: a table, and entries of the model-index."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


_SHOWN = ("pass@", "maj@", "avg@", "distinct_correct", "entropy")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a model.

    Attributes:
        label: what was evaluated, `trained` or `before training`.
        dataset: name of the benchmark.
        figures: name -> value, such as `pass@1` -> 0.37.
        intervals: name -> (low, high), 95 %, where known.
        trained: whether it belongs to the model in the folder, and so in its model-index.
    """

    label: str
    dataset: str
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    trained: bool = True

    @property
    def pass_at(self) -> dict[int, float]:
        """k -> pass@k."""
        return {int(name[5:]): value for name, value in self.figures.items() if name.startswith("pass@")}

    def results(self) -> list[Any]:
        """The model-index entries; none for another model than the one in the folder."""
        from huggingface_hub import EvalResult

        if not self.trained:
            return []
        shown = [name for name in self.figures if name.startswith(("pass@", "maj@", "avg@"))]
        return [
            EvalResult(
                task_type="text-generation",
                dataset_type=self.dataset,
                dataset_name=self.dataset,
                metric_type=name.partition("@")[0] + "_at_k",
                metric_name=name,
                metric_value=round(self.figures[name], 4),
            )
            for name in shown
        ]


def read_evaluations(folder: str | Path) -> list[Evaluation]:
    """Every evaluation in a `results.json` below `folder/evaluation`, those of other models first.

    `trl-entropy eval --model RUN --output-dir RUN/evaluation` leaves it there.

    Raises:
        ValueError: for a `results.json` that cannot be read; it names the file.
    """
    found = [
        _from_row(row, Path(folder))
        for path in sorted(Path(folder).glob("evaluation/**/*.json"))
        for row in _rows(path)
    ]
    return sorted(found, key=lambda evaluation: evaluation.trained)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Evaluate again, or delete it.") from error
    return content.get("figures", []) if isinstance(content, dict) else []


def _is(model: str, folder: Path) -> bool:
    """Whether an evaluated model is the one in the folder, also after the folder was moved with its parents."""
    parts, own = Path(model).expanduser().parts, folder.resolve().parts
    return Path(model).expanduser().resolve() == folder.resolve() or (bool(parts) and own[-len(parts) :] == parts)


def _from_row(row: dict[str, Any], folder: Path) -> Evaluation:
    trained = _is(row["model"], folder)
    shown = {name: figure for name, figure in row["figures"].items() if name.startswith(_SHOWN)}
    return Evaluation(
        label="trained" if trained else row["name"],
        dataset=row["benchmark"],
        figures={name: figure["mean"] for name, figure in shown.items()},
        intervals={name: (figure["low"], figure["high"]) for name, figure in shown.items()},
        trained=trained,
    )


def evaluation_section(evaluations: list[Evaluation]) -> str:
    """The card's "Evaluation" section."""
    lines = ["### Evaluation", "", "| dataset | model | figure | value | 95 % interval |", "|---|---|---|---|---|"]
    for evaluation in evaluations:
        for name, value in evaluation.figures.items():
            interval = evaluation.intervals.get(name)
            shown = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
            lines.append(f"| {evaluation.dataset} | {evaluation.label} | {name} | {value:.3f} | {shown} |")
    return "\n".join(lines)
