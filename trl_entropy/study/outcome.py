"""What a run leaves: settings, versions, curves, and every problem's figures at every evaluation, in a small file."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluate.estimators import pass_at_k


KS = (1, 2, 4, 8, 16)
SAMPLES = max(KS)
FIGURES = (*(f"pass@{k}" for k in KS), f"maj@{SAMPLES}", f"distinct@{SAMPLES}")
EVALUATIONS, SPEC = "evaluations.jsonl", "run.json"  # in a run's folder
MEANS = ("entropy", "outside", "nucleus", "unreadable")  # of an evaluation's samples; old results have fewer
VOTES = 60  # a vote is kept in sixtieths: exact for ties of up to six
_DIGITS = string.digits + string.ascii_letters


def encode(counts: np.ndarray) -> str:
    """(P,) whole numbers of 0 to 61 as text, a digit each."""
    return "".join(_DIGITS[count] for count in counts)


def decode(text: str) -> np.ndarray:
    """What `encode` was given."""
    return np.array([_DIGITS.index(digit) for digit in text])


def label_of(plan: Mapping[str, Any]) -> str:
    """`siren`, or `siren siren_coef=0.5` where the study lists settings."""
    return " ".join([plan["method"], *(f"{key}={value}" for key, value in plan["setting"].items())])


@dataclass(frozen=True)
class Outcome:
    """A finished run, as its JSON file holds it.

    `content` has `plan` (`RunPlan.as_dict`), `versions`, `device`, `seconds`, `curves` (name -> means over blocks of
    batches; `batch` is the block's last) and `evaluations`: rows of `batch`, `split`, `seconds`, `entropy` (nats),
    `tokens`, `truncated` and, a digit a problem, `correct`, `distinct` and `vote`; where they were measured `outside`
    (the mass outside the nucleus of p = 0.8, a mean over tokens), `nucleus` (the words in it) and `unreadable` (the
    share of samples that are no answer at all). `temperatures`, where the plan asks for them, has such rows of the
    last policy, with `temperature` instead of `batch`.
    """

    content: Mapping[str, Any]

    @property
    def plan(self) -> Mapping[str, Any]:
        return self.content["plan"]

    @property
    def label(self) -> str:
        """The method with its setting."""
        return label_of(self.plan)

    @cached_property
    def batches(self) -> tuple[int, ...]:
        """The batches of the evaluations."""
        return tuple(dict.fromkeys(row["batch"] for row in self.content["evaluations"]))

    def evaluations(self, split: str) -> list[Mapping[str, Any]]:
        """The evaluations on a split, in order."""
        return [row for row in self.content["evaluations"] if row["split"] == split]

    def temperatures(self, split: str) -> list[Mapping[str, Any]]:
        """The last policy on a split, the hottest first; nothing where it was not measured so."""
        rows = [row for row in self.content.get("temperatures", ()) if row["split"] == split]
        return sorted(rows, key=lambda row: -row["temperature"])

    def tokens_seen(self, batches: Sequence[int]) -> np.ndarray:
        """(batches,) tokens generated until the end of each batch, from the logged mean lengths."""
        arguments, curves = self.plan["arguments"], self.content["curves"]
        ends = np.array([0, *curves["batch"]])
        each = np.array(curves["completions/mean_length"], dtype=float)
        each *= self.plan["prompts_per_batch"] * arguments["num_generations"]
        return np.interp(batches, ends, np.append(0.0, (np.diff(ends) * each).cumsum()))

    def path(self, split: str, figure: str) -> np.ndarray:
        """(evaluations, problems) values of one of `FIGURES` along training."""
        return np.stack([columns(row)[figure] for row in self.evaluations(split)])


def columns(row: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every figure of an evaluation under its name, (problems,) each."""
    correct = decode(row["correct"])
    figures = {f"pass@{k}": np.asarray(pass_at_k(SAMPLES, correct, k)) for k in KS}
    vote, distinct = decode(row["vote"]) / VOTES, decode(row["distinct"]).astype(float)
    return {**figures, f"maj@{SAMPLES}": vote, f"distinct@{SAMPLES}": distinct}


def read_outcomes(folder: Path) -> list[Outcome]:
    """The finished runs of a study, by task and name; one that cannot be read is named.

    Raises:
        ValueError: for a file that holds no result.
    """
    found = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            found.append(Outcome(json.loads(path.read_text(encoding="utf-8"))))
            _ = found[-1].label
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} holds no result of a run ({error}). Delete it, and run the study again"
            ) from error
    return found


def block_means(log: Sequence[Mapping[str, Any]], steps_per_batch: int, points: int) -> dict[str, list[float | None]]:
    """Every number of a trainer's log as means over at most `points` blocks of equally many batches.

    Args:
        log: rows with `step`, as `TrainerState.log_history`.
        steps_per_batch: optimizer steps a batch.
        points: blocks at most.

    Returns:
        `batch`, each block's last, and name -> the mean in each block, None where the block has no such number.
    """
    rows = [row for row in log if "loss" in row or "reward" in row]
    if not rows:
        return {}
    batches = -(-rows[-1]["step"] // steps_per_batch)
    width = -(-batches // points)
    blocks: list[dict[str, list[float]]] = [{} for _ in range(-(-batches // width))]
    for row in rows:
        block = blocks[(row["step"] - 1) // steps_per_batch // width]
        for name, value in row.items():
            if isinstance(value, (int, float)) and np.isfinite(value) and name not in ("step", "epoch"):
                block.setdefault(name, []).append(value)
    names = sorted({name for block in blocks for name in block})
    ends = [min(width * (i + 1), batches) for i in range(len(blocks))]
    return {"batch": ends} | {
        name: [float(f"{np.mean(block[name]):.4g}") if name in block else None for block in blocks] for name in names
    }
