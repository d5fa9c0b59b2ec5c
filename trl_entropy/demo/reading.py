"""What the figures say, in sentences computed from them: a claim appears only where its interval leaves out zero."""

from __future__ import annotations

from typing import Any

from ..study.compared import row_name as label


def reading(results: dict[str, Any]) -> list[str]:
    """An honest reading of `trl_entropy.study.compared`'s results, one sentence an item."""
    methods = results["methods"]
    return [
        *(_movement(name, method["path"]) for name, method in methods.items()),
        *(
            sentence
            for name, method in methods.items()
            if "difference" in method
            for sentence in _against(name, method, label(results["compared_with"]))
        ),
        _scope(max(len(method["seeds"]) for method in methods.values())),
    ]


def _movement(name: str, path: list[dict[str, Any]]) -> str:
    start, end = path[0], path[-1]
    moves = (f"{key} {start[key]['value']:.2f} -> {end[key]['value']:.2f}" for key in ("pass@1", "pass@16", "maj@16"))
    return f"{label(name)}: {', '.join(moves)}; entropy at {end['entropy'] / start['entropy']:.0%} of its start."


def _against(name: str, method: dict[str, Any], reference: str) -> list[str]:
    sentences = [
        f"{label(name)} ends with {verdict(key, method['difference'][key], reference)}."
        for key in ("pass@16", "pass@1")
    ]
    equal = method["frontier"]
    if equal["top"]["value"] is None:
        sentences.append(
            f"{label(name)} and {reference} cannot be compared at equal pass@1: one did not rise above its start."
        )
    else:
        at_top = verdict("pass@16", equal["top_gap"], reference)
        sentences.append(f"Where both have pass@1 {equal['top']['value']:.2f}, {label(name)} has {at_top}.")
    return sentences


def verdict(key: str, difference: dict[str, float | None], reference: str) -> str:
    """`a higher pass@16 than GRPO (+0.050, 95 % interval ...)`, or no clear difference."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return f"no known difference from {reference} in {key} ({difference['value']:+.3f}, no interval)"
    size = f"({difference['value']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})"
    if low <= 0 <= high:
        return f"no clear difference from {reference} in {key} {size}"
    return f"a {'higher' if low > 0 else 'lower'} {key} than {reference} {size}"


def _scope(seeds: int) -> str:
    if seeds == 1:
        return "The intervals cover the choice of puzzles, not of seeds (one seed a method): other --seeds can differ."
    return f"The intervals cover the choice of puzzles and of seeds ({seeds} seeds a method)."
