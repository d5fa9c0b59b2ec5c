"""What a model card says that can change after training: last figures, picture, evaluations. Rebuilt from a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard

from .card_evaluation import Evaluation, evaluation_section, read_evaluations


PICTURE = "entropy_control.png"
BEGIN, END = "<!-- trl_entropy: figures -->", "<!-- trl_entropy: end of figures -->"
_OURS = re.compile(rf"{BEGIN}.*?{END}", re.DOTALL)


def figures_section(
    folder: Path, log_history: Sequence[Mapping[str, Any]], method: str, evaluations: Sequence[Evaluation]
) -> str:
    """Draw the picture in the folder, and return the part of the card between our marks, marks included.

    Args:
        folder: where the card lies.
        log_history: the Trainer's log.
        method: the method's name in `trl_entropy.plots`.
        evaluations: of this model and of others.
    """
    from ..plots.card_picture import plot_card

    figures = last_figures(log_history)
    lines = []
    if figures:
        lines += ["| last logged figure | value |", "|---|---|"]
        lines += [f"| `{key}` | {value:.4g} |" for key, value in figures.items()]
    curves = {evaluation.label: evaluation.pass_at for evaluation in evaluations if evaluation.pass_at}
    if plot_card(log_history, method, folder / PICTURE, curves):
        shown = [name for name, there in (("Entropy", "entropy" in figures), ("pass@k", curves)) if there]
        lines += ["", f"![{' and '.join(shown)} of this run]({PICTURE})"]
    if evaluations:
        lines += ["", evaluation_section(list(evaluations))]
    return "\n".join([BEGIN, *lines, END])


def last_figures(log_history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The newest value of each figure that says how entropy fared."""
    figures: dict[str, float] = {}
    for row in log_history:
        for key, value in row.items():
            wanted = key in ("entropy", "reward") or key.startswith(("siren/", "cov/", "entropy/"))
            if wanted and isinstance(value, int | float):
                figures[key] = value
    return figures


def model_index(evaluations: Sequence[Evaluation], kept: Sequence[EvalResult] = ()) -> list[EvalResult]:
    """Entries of a card's model-index: those of the evaluations, and the kept ones that they do not replace."""
    ours = [result for evaluation in evaluations for result in evaluation.results()]
    measured = {(result.dataset_type, result.metric_name) for result in ours}
    return [result for result in kept if (result.dataset_type, result.metric_name) not in measured] + ours


def refresh_card(folder: str | Path) -> None:
    """Bring the figures, the picture and the model-index of a run's card up to what its folder holds now.

    Only the part between our marks is exchanged, and in the header only the entries of the evaluations found: what
    someone wrote around them stays. A folder without a card, and a card without the marks, are left alone.

    Raises:
        ValueError: when an evaluation in the folder, or the card's header, is damaged.
    """
    folder = Path(folder)
    path = folder / "README.md"
    if not path.is_file() or not _OURS.search(path.read_text(encoding="utf-8")):
        return
    evaluations = read_evaluations(folder)
    log_history, method = _log_of(folder)
    section = figures_section(folder, log_history, method, evaluations)
    path.write_text(_OURS.sub(lambda _: section, path.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    if any(evaluation.results() for evaluation in evaluations):
        try:
            card = ModelCard.load(path)
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"The header of {path} is no valid card ({error}). Mend it.") from error
        data: Any = card.data  # its attributes are the keys of the card's header
        data.eval_results = model_index(evaluations, data.eval_results or ())
        data.model_name = data.model_name or folder.absolute().name
        card.save(path)


def _log_of(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The log in the folder, one row a step, and the method's name in `trl_entropy.plots`."""
    from ..runlog import RunLogError, read_run

    try:
        run = read_run(folder)
    except RunLogError:  # pushed without its log
        return [], "plain"
    rows: dict[int, dict[str, Any]] = {}
    for key, series in run.metrics.items():
        for step, value in zip(series.steps, series.values, strict=True):
            rows.setdefault(step, {"step": step})[key] = value
    method = run.method.partition("+")[0]
    return [rows[step] for step in sorted(rows)], "plain" if method == "unknown" else method
