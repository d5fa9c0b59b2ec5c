"""Samples on disk while they are drawn: a killed evaluation goes on where it stopped."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .sampling import Completion


Row = tuple[int, int]


class SampleStore:
    """The samples of one (model, benchmark, seed), one JSON line each, written batch by batch.

    Args:
        folder: where `samples.jsonl` and `eval_settings.json` lie; created if missing.
        settings: everything that decides what the samples are.
        overwrite: drop samples drawn under other settings instead of refusing them.

    Raises:
        ValueError: if the folder holds samples drawn under other settings; it names the settings that differ.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], overwrite: bool = False):
        self.path, self._settings_path = folder / "samples.jsonl", folder / "eval_settings.json"
        self.settings = json.loads(json.dumps(settings))
        stored = json.loads(self._settings_path.read_text()) if self._settings_path.is_file() else None
        if stored is not None and stored != self.settings and not overwrite:
            keys = [k for k in {**stored, **self.settings} if stored.get(k) != self.settings.get(k)]
            changes = "; ".join(
                f"{k}: {_short(stored.get(k))} there, {_short(self.settings.get(k))} now" for k in keys
            )
            raise ValueError(
                f"{folder} holds samples drawn under other settings ({changes}). "
                "Choose another --output-dir, or --overwrite to draw them again."
            )
        folder.mkdir(parents=True, exist_ok=True)
        if stored is not None and stored != self.settings:
            self.path.unlink(missing_ok=True)
        self._settings_path.write_text(json.dumps(self.settings, indent=2) + "\n")
        self.samples: dict[Row, Completion] = self._read()

    def add(self, rows: Iterable[Row], completions: Iterable[Completion]) -> None:
        """Append a batch and make sure that it is on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            for row, completion in zip(rows, completions, strict=True):
                self.samples[row] = completion
                file.write(json.dumps({"problem": row[0], "sample": row[1], **asdict(completion)}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> dict[Row, Completion]:
        if not self.path.is_file():
            return {}
        raw = self.path.read_bytes()
        whole, _, torn = raw.rpartition(b"\n")
        if torn:  # the process died inside a line: drop it, its batch is drawn again
            with self.path.open("r+b") as file:
                file.truncate(len(raw) - len(torn))
        samples = {}
        for line in filter(None, whole.decode("utf-8").split("\n")):
            row = json.loads(line)
            place = row.pop("problem"), row.pop("sample")
            samples[place] = Completion(**row)
        return samples


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
