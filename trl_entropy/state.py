"""What entropy control must remember from one optimizer step to the next, and across a restart."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


STATE_FILE = "entropy_state.json"


class DamagedStateError(ValueError):
    """A checkpoint's entropy state is there but cannot be trusted."""


@dataclass
class EntropyState:
    """The state saved in every checkpoint.

    Attributes:
        anchor: nucleus entropy of the initial policy, nats; `None` until measured.
        entropy: nucleus entropy of the last optimizer step, nats; `None` before the first.
        counted_share: share of the last step's sequences that had a regularized token.
        draws: selections drawn so far. With the seed it fixes the next one, so it is the state of that generator.
    """

    anchor: float | None = None
    entropy: float | None = None
    counted_share: float = 1.0
    draws: int = 0

    def save(self, folder: str | os.PathLike, settings: dict[str, Any]) -> Path:
        """Write `entropy_state.json` into `folder`, whole or not at all, with the settings it was measured under."""
        path = Path(folder) / STATE_FILE
        body = {"state": asdict(self), "settings": settings}
        text = json.dumps({**body, "sha256": _digest(body)}, indent=2)
        part = path.with_suffix(".json.part")
        with open(part, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        return path

    @classmethod
    def load(cls, folder: str | os.PathLike) -> tuple["EntropyState", dict[str, Any]] | None:
        """Read the state and its settings from a checkpoint, `None` when it has none.

        Raises:
            DamagedStateError: when the file is cut short, edited, or not ours. It names the file and the way out.
        """
        path = Path(folder) / STATE_FILE
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text())
            digest = content.pop("sha256")
            if digest != _digest(content):
                raise ValueError("its checksum does not match its content")
            return cls(**content["state"]), content["settings"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStateError(
                f"{path} is damaged ({error}). Resume from an earlier checkpoint, or delete the file to go on without "
                "it: the anchor is then measured anew, from the policy as it is now, unless siren_anchor gives it."
            ) from error


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
