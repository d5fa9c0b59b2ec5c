"""The functions that the YAML files name. lm-eval loads this file by its path: its imports are absolute."""

from typing import Any

from trl_entropy.evaluate.benchmarks import BOXED
from trl_entropy.evaluate.estimators import maj_at_k, pass_at_k
from trl_entropy.evaluate.problems import Problem
from trl_entropy.evaluate.verdicts import grade
from trl_entropy.rewards import gold_answer, math_reward


def _first(doc: dict[str, Any], *names: str) -> str:
    for name in names:
        if name in doc:
            return str(doc[name])
    raise ValueError(f"The document has none of the columns {', '.join(names)}; it has {', '.join(doc)}.")


def doc_to_text(doc: dict[str, Any]) -> str:
    """The prompt of `trl-entropy eval`."""
    return BOXED.format(problem=_first(doc, "problem", "question"))


def doc_to_target(doc: dict[str, Any]) -> str:
    """The gold answer."""
    return gold_answer(_first(doc, "answer"))


def process_results(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """Figures of one problem from its n samples."""
    texts = results[0]
    [grades] = grade([Problem("0", doc_to_text(doc), doc_to_target(doc))], [texts], "math", math_reward)
    correct = [g.correct for g in grades]
    n, labels = len(texts), [g.label for g in grades]
    return {
        "avg_at_n": sum(correct) / n,
        "pass_at_n": float(pass_at_k(n, sum(correct), n)),
        "maj_at_n": maj_at_k(labels, correct, n),
        "distinct_answers": float(len(set(labels) - {None})),
    }
