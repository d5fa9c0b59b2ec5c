"""One self-contained HTML page of one run or several, what was learned first. No torch."""

from .build import build_report, page_of_paths, write_report


__all__ = ["build_report", "page_of_paths", "write_report"]
