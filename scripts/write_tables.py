"""Write the tables that the methods declare into README.md and docs/, between their markers.

`python scripts/write_tables.py` writes, `--check` says what differs and exits with 1.
"""

import argparse
import re
import sys
from pathlib import Path

from trl_entropy import metrics
from trl_entropy.config import OwnArguments
from trl_entropy.methods import described as tables


ROOT = Path(__file__).parents[1]
TABLES = {
    "methods": tables.methods_table,
    "arguments": tables.all_arguments,
    "own arguments": lambda: tables.arguments_table(OwnArguments),
    "combinations": tables.combinations_table,
    "method metrics": tables.method_metrics,
    "masses": lambda: tables.metrics_table(metrics.MASS_TABLE),
    "entropy metrics": lambda: tables.metrics_table(metrics.TABLE),
    "safety metrics": lambda: tables.metrics_table(metrics.SAFETY_TABLE),
    "analysis metrics": lambda: tables.metrics_table(metrics.ANALYSIS_TABLE),
}
MARKED = re.compile(r"(<!-- table: ([a-z ]+) -->\n).*?(<!-- end of table -->)", re.S)


def written(text: str) -> str:
    """The text with every marked table as the methods declare it.

    Raises:
        KeyError: for a table that is not known.
    """
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if written(text) != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(written(text), encoding="utf-8")
    print("\n".join(stale) or "nothing to write")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
