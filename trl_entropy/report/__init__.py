"""One self-contained HTML page of one run or several: curves, law, dynamics, settings, tokens. No torch."""

from .build import build_report, write_report


__all__ = ["build_report", "write_report"]
