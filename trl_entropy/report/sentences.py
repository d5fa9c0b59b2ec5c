"""What a run says in ten seconds: sentences computed from its log, each with its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..runlog.groups import Group, end_values


COLLAPSED, FELL, ROSE, EXPLODED = 0.25, 0.8, 1.25, 2.0  # of the entropy at the start
_SCORES = (("heldout/pass_at_1", "Held-out pass@1"), ("eval_reward", "Validation reward"), ("reward", "Reward"))
_FEWEST = 4  # logged values; fewer have no first and last tenth to compare

_ENTROPY = {
    "entropy_collapsed": "Entropy collapsed: {0:.3g} to {1:.3g} nats, {2:.0%} of its start.",
    "entropy_fell": "Entropy fell from {0:.3g} to {1:.3g} nats, {2:.0%} of its start.",
    "entropy_held": "Entropy held: {0:.3g} at the start, {1:.3g} nats at the end ({2:.0%}).",
    "entropy_rose": "Entropy rose from {0:.3g} to {1:.3g} nats, {2:.0%} of its start.",
    "entropy_exploded": "Entropy exploded: {0:.3g} to {1:.3g} nats, {2:.0%} of its start.",
}


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Args:
        code: What was found, such as `entropy_collapsed`; advice begins with `try_`.
        text: The sentence, with its numbers.
    """

    code: str
    text: str


def findings(group: Group) -> list[Finding]:
    """Whether entropy and score moved, what the method did, what stood in the way, and what to try next.

    Numbers are means over the first and the last tenth of the log, the median over seeds. A score counts as moved
    where the difference exceeds 1.96 of its standard errors, estimated from the differences of successive steps.
    """
    found = [*_entropy(group), *_score(group), *_method(group), *_in_the_way(group)]
    return found + _next({finding.code for finding in found}, group)


def _entropy(group: Group) -> list[Finding]:
    start, end = _at(group, "entropy", first=True), _at(group, "entropy")
    if _points(group, "entropy") < _FEWEST or not start > 0:
        return [Finding("too_short", f"Entropy was logged {_points(group, 'entropy')} times: too few to say.")]
    ratio, codes = end / start, list(_ENTROPY)
    code = codes[int(np.searchsorted((COLLAPSED, FELL, ROSE, EXPLODED), ratio, side="right"))]
    return [Finding(code, _ENTROPY[code].format(start, end, ratio))]


def _score(group: Group) -> list[Finding]:
    key, name = next(((k, n) for k, n in _SCORES if _points(group, k) >= _FEWEST), ("", ""))
    if not key:
        return []
    start, end = _at(group, key, first=True), _at(group, key)
    errors = []
    for run in group.runs:
        values = np.array(run.metrics[key].values if key in run.metrics else ())
        if len(values) > 1:
            errors.append(np.square(np.diff(values)).mean() / max(1, round(len(values) / 10)))
    half = 1.96 * math.sqrt(sum(errors)) / len(errors)
    code, verb = "score_flat", "did not clearly move"
    if abs(end - start) > half:
        code, verb = ("score_rose", "rose") if end > start else ("score_fell", "fell")
    return [Finding(code, f"{name} {verb}: {start:.3g} to {end:.3g} ({end - start:+.2g} ± {half:.2g}).")]


def _method(group: Group) -> list[Finding]:
    found = []
    entropy, anchor = _at(group, "siren/entropy"), _at(group, "siren/anchor")
    if anchor > 0 and math.isfinite(entropy):
        ratio = entropy / anchor
        code = "siren_below" if ratio < 0.85 else "siren_above" if ratio > 1.15 else "siren_at_anchor"
        where = {"siren_below": "below", "siren_above": "above", "siren_at_anchor": "at"}[code]
        text = f"SIREN's entropy ended {where} its anchor: {entropy:.3g} of {anchor:.3g} nats ({ratio:.0%})."
        found.append(Finding(code, text))
    share = _at(group, "cov/selected_share", share=1.0)
    if math.isfinite(share):
        largest = _at(group, "cov/max", share=1.0)
        text = f"{share:.2%} of tokens were selected, of a largest covariance of {largest:.3g} on average."
        found.append(Finding("tokens_selected" if share > 0 else "nothing_selected", text))
    for method in group.runs[0].methods or ():
        keys = sorted({k for run in group.runs for k in run.metrics if k.startswith(f"{method.key}/")})
        if keys and method.key != "siren":
            text = ", ".join(f"{k.partition('/')[2].replace('_', ' ')} {_at(group, k):.3g}" for k in keys[:4])
            found.append(Finding("method_ended", f"{method.name} at the end: {text}."))
    scales = [v for run in group.runs if "guard/scale" in run.metrics for v in run.metrics["guard/scale"].values]
    if any(scale != 1 for scale in scales):
        text = f"The guard scaled the entropy coefficients by {min(scales):.3g} to {max(scales):.3g}."
        found.append(Finding("guard_acted", text))
    return found


def _in_the_way(group: Group) -> list[Finding]:
    found = []
    for key, what in (("skipped_updates", "updates were left out"), ("unscored_completions", "completions unscored")):
        counts = [run.metrics[f"faults/{key}"].values for run in group.runs if f"faults/{key}" in run.metrics]
        total = sum(v[-1] if key == "skipped_updates" else sum(v) for v in counts)
        if total:
            found.append(Finding("faults", f"{total:.0f} {what}."))
    cut, still = _at(group, "completions/clipped_ratio"), _at(group, "frac_reward_zero_std")
    if cut > 0.1:
        found.append(Finding("completions_cut", f"{cut:.0%} of the last completions were cut at their longest."))
    if still > 0.5:
        found.append(Finding("no_gradient", f"{still:.0%} of the last prompts had equal rewards, hence no gradient."))
    return found


def _next(codes: set[str], group: Group) -> list[Finding]:
    controlled = group.method not in ("plain", "unknown")
    advice = []
    if "entropy_collapsed" in codes:
        advice.append(
            "raise the method's coefficient, or its share of tokens."
            if controlled
            else "an entropy method: siren_coef where updates are on-policy, kl_cov_ratio where they are not."
        )
    if "entropy_exploded" in codes:
        what = "a smaller coefficient, or bounds by entropy_guard." if controlled else "a smaller learning rate."
        advice.append(what)
    if "nothing_selected" in codes:
        advice.append("a larger share or a lower bound: no token was selected.")
    if "completions_cut" in codes:
        advice.append("a larger max_completion_length.")
    if "no_gradient" in codes:
        advice.append("prompts that are neither always solved nor never.")
    if "score_fell" in codes:
        advice.append("an earlier checkpoint, and a smaller learning rate from there.")
    if not advice and "score_rose" in codes:
        advice.append("train on, and measure pass@k with trl-entropy eval.")
    if not advice and "score_flat" in codes:
        advice.append("longer training or a larger learning rate.")
    return [Finding("try_next", f"Try next: {text}") for text in advice]


def _points(group: Group, key: str) -> int:
    return min((len(run.metrics[key]) for run in group.runs if key in run.metrics), default=0)


def _at(group: Group, key: str, first: bool = False, share: float = 0.1) -> float:
    """The median over seeds of a metric's mean over its first or last tenth; NaN where it was not logged."""
    values = end_values(group, key, share, first)
    return float(np.median(values)) if len(values) else math.nan
