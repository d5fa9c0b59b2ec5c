"""Samples on disk while they are drawn: a killed evaluation goes on where it stopped."""

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..durable import write_whole
from .sampling import Completion


logger = logging.getLogger(__name__)
Row = tuple[int, int]


class SampleStore:
    """The samples of one (model, benchmark, seed), one JSON line each, written batch by batch.

    Args:
        folder: where `samples.jsonl` and `eval_settings.json` lie; created if missing.
        settings: everything that decides what the samples are.
        overwrite: drop whatever samples are there instead of going on with them or refusing them.

    A damaged line of `samples.jsonl` is named in a warning and its sample drawn again.

    Raises:
        ValueError: if the folder holds samples drawn under other settings (it names the settings that differ), or
            under settings that can no longer be read.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], overwrite: bool = False):
        self.path, self._settings_path = folder / "samples.jsonl", folder / "eval_settings.json"
        self.settings = json.loads(json.dumps(settings))
        stored = None if overwrite else self._stored()
        if stored is not None and stored != self.settings:
            keys = [k for k in {**stored, **self.settings} if stored.get(k) != self.settings.get(k)]
            changes = "; ".join(
                f"{k}: {_short(stored.get(k))} there, {_short(self.settings.get(k))} now" for k in keys
            )
            raise ValueError(
                f"{folder} holds samples drawn under other settings ({changes}). "
                "Choose another --output-dir, or --overwrite to draw them again."
            )
        folder.mkdir(parents=True, exist_ok=True)
        if overwrite:
            self.path.unlink(missing_ok=True)
        write_whole(self._settings_path, json.dumps(self.settings, indent=2) + "\n")
        self.samples: dict[Row, Completion] = self._read()

    def add(self, rows: Iterable[Row], completions: Iterable[Completion]) -> None:
        """Append a batch and make sure that it is on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            for row, completion in zip(rows, completions, strict=True):
                self.samples[row] = completion
                file.write(json.dumps({"problem": row[0], "sample": row[1], **asdict(completion)}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _stored(self) -> dict[str, Any] | None:
        """The settings of the samples that are there; None where there are none."""
        if not self._settings_path.is_file():
            return None
        try:
            stored = json.loads(self._settings_path.read_text(encoding="utf-8"))
            if isinstance(stored, dict):
                return stored
        except (ValueError, RecursionError):
            pass
        if not self.path.is_file() or not self.path.stat().st_size:
            return None  # no sample depends on them
        raise ValueError(
            f"{self._settings_path} is damaged, so that nobody knows how the samples beside it were drawn. "
            "Choose another --output-dir, or --overwrite to draw them again."
        )

    def _read(self) -> dict[Row, Completion]:
        if not self.path.is_file():
            return {}
        raw = self.path.read_bytes()
        whole, _, torn = raw.rpartition(b"\n")
        if torn:  # the process died inside a line: drop it, its batch is drawn again
            with self.path.open("r+b") as file:
                file.truncate(len(raw) - len(torn))
        samples = {}
        for number, line in enumerate(whole.split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                place = int(row.pop("problem")), int(row.pop("sample"))
                samples[place] = Completion(**row)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                logger.warning(f"{self.path}:{number}: not a sample; it is drawn again.")
        return samples


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
