"""Write `docs/grading.md`: `python -m tests.rewards.write_grading_table` from the repository's root."""

from pathlib import Path

from tests.rewards.grading_pairs import DIFFERENT, NO_ANSWER, PAIRS
from trl_entropy.rewards import MathReward, extract_answer, gold_answer


PATH = Path(__file__).parents[2] / "docs" / "grading.md"
SAYS = {"no_answer": NO_ANSWER, "unparsed": DIFFERENT}


def verdicts() -> list[str]:
    """What the grader says of each pair, in the words of the table."""
    reward = MathReward(timeout=10.0)
    golds = [gold_answer(pair.gold) for pair in PAIRS]
    says = reward.verdicts(golds, [extract_answer(pair.completion) for pair in PAIRS])
    reward.pool.close()
    return [SAYS.get(verdict, verdict) for verdict in says]


def table() -> str:
    says = verdicts()
    wrong = [i for i, pair in enumerate(PAIRS) if says[i] != pair.deserved]
    lines = [
        "# What the grader says",
        "",
        "`python -m tests.rewards.write_grading_table` writes this file; a test holds it against the grader.",
        "The verdict deserved follows the convention of mathematical benchmarks: any correct spelling counts, a",
        "missing unit is forgiven, an answer must be exact unless the gold itself is a decimal.",
        "",
        f"{len(PAIRS)} pairs, {len(PAIRS) - len(wrong)} as deserved, {len(wrong)} not:",
        "",
        *(_row(i, says[i]) for i in wrong),
        "",
        "| # | kind | gold | completion | deserved | grader | |",
        "|---|---|---|---|---|---|---|",
    ]
    for i, (pair, verdict) in enumerate(zip(PAIRS, says, strict=True)):
        mark = "" if verdict == pair.deserved else "**differs**"
        lines.append(
            f"| {i + 1} | {pair.kind} | {_code(pair.gold)} | {_code(pair.completion)} "
            f"| {pair.deserved} | {verdict} | {mark} |"
        )
    return "\n".join(lines) + "\n"


def _row(i: int, verdict: str) -> str:
    pair = PAIRS[i]
    return f"* {i + 1}: gold {_code(pair.gold)}, {_code(pair.completion)}: {pair.deserved} deserved, {verdict} given."


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    PATH.write_text(table())
    print(f"wrote {PATH}")
