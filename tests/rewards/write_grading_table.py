"""Write `docs/grading.md`: `python -m tests.rewards.write_grading_table` from the repository's root."""

from collections.abc import Callable
from pathlib import Path

from tests.rewards.grading_pairs import DIFFERENT, EQUAL, NO_ANSWER, NO_GOLD, PAIRS
from trl_entropy.rewards import MathReward, extract_answer, gold_answer


PATH = Path(__file__).parents[2] / "docs" / "grading.md"
ABOUT = Path(__file__).with_name("grading_about.md")
SAYS = {"no_answer": NO_ANSWER, "unparsed": DIFFERENT, "unparsed_gold": NO_GOLD}


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
        *ABOUT.read_text().splitlines(),
        "",
        f"{len(PAIRS)} pairs, {len(PAIRS) - len(wrong)} as deserved, {len(wrong)} not. "
        f"{_rate('False positives', says, lambda deserved: deserved != EQUAL, lambda verdict: verdict == EQUAL)} "
        "of those that deserve another verdict are graded equal. "
        f"{_rate('False negatives', says, lambda deserved: deserved == EQUAL, lambda verdict: verdict != EQUAL)} "
        "of those that deserve equal are not.",
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


def _rate(name: str, says: list[str], among: Callable[[str], bool], wrongly: Callable[[str], bool]) -> str:
    verdicts_of = [verdict for pair, verdict in zip(PAIRS, says, strict=True) if among(pair.deserved)]
    count = sum(map(wrongly, verdicts_of))
    return f"{name}: {count} of {len(verdicts_of)} ({100 * count / len(verdicts_of):.1f} %)"


def _row(i: int, verdict: str) -> str:
    pair = PAIRS[i]
    return f"* {i + 1}: gold {_code(pair.gold)}, {_code(pair.completion)}: {pair.deserved} deserved, {verdict} given."


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}".replace("|", "\\|").replace("\n", "⏎")


if __name__ == "__main__":
    PATH.write_text(table())
    print(f"wrote {PATH}")
