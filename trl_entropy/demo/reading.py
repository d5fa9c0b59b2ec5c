"""What the figures say, in sentences computed from them: a claim appears only where its interval leaves out zero."""

from __future__ import annotations

from typing import Any

from trl_entropy.runlog.run_methods import name_of


def label(method: str) -> str:
    """The method's name as tables and pictures show it."""
    return name_of(method)


def reading(results: dict[str, Any]) -> list[str]:
    """An honest reading of the demo's results, one sentence an item.

    Args:
        results: What `build_results` returned.
    """
    return [
        *(_movement(results, method) for method in results["methods"]),
        *(
            sentence
            for method, figures in results["methods"].items()
            if "difference" in figures
            for sentence in _against(results, method)
        ),
        _scope(results),
    ]


def _movement(results: dict[str, Any], method: str) -> str:
    start, figures = results["start"], results["methods"][method]
    end = figures["end"]
    moves = ", ".join(
        f"{name} {start[name]['mean']:.2f} -> {end[name]['mean']:.2f}" for name in ("pass@1", "pass@16", "maj@16")
    )
    kept = figures["entropy_ratio"]["mean"]
    return f"{label(method)}: {moves}; entropy at {kept:.0%} of its start."


def _against(results: dict[str, Any], method: str) -> list[str]:
    figures, reference = results["methods"][method], label(results["compared_with"])
    sentences = [
        f"{label(method)} ends with {_verdict(name, figures['difference'][name], reference)}."
        for name in ("pass@16", "pass@1")
    ]
    equal = figures["at_equal_pass@1"]
    if equal is None:
        sentences.append(
            f"{label(method)} and {reference} cannot be compared at equal pass@1: one did not rise above its start."
        )
    else:
        sentences.append(
            f"Where both have pass@1 {equal['pass@1']:.2f}, {label(method)} has "
            f"{_verdict('pass@16', equal, reference)}: {equal['pass@16']:.2f} to {equal['reference_pass@16']:.2f}."
        )
    return sentences


def _verdict(name: str, figures: dict[str, Any], reference: str) -> str:
    low, high = figures["interval"]
    size = f"({figures['difference']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})"
    if low > 0:
        return f"a higher {name} than {reference} {size}"
    if high < 0:
        return f"a lower {name} than {reference} {size}"
    return f"no clear difference from {reference} in {name} {size}"


def _scope(results: dict[str, Any]) -> str:
    seeds = max(len(figures["runs"]) for figures in results["methods"].values())
    one = "one seed a method" if seeds == 1 else f"{seeds} seeds a method, averaged"
    return f"The intervals cover the choice of puzzles, not of seeds ({one}): other --seeds can differ by more."
