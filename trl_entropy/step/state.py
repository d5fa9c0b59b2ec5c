"""What entropy control must remember from one optimizer step to the next, and across a restart."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import TrlEntropyError
from ..durable import write_whole


STATE_FILE = "entropy_state.json"
FORMAT = 2


class DamagedStateError(TrlEntropyError, ValueError):
    """A checkpoint's entropy state is there but cannot be trusted."""


@dataclass
class EntropyState:
    """The state saved in every checkpoint.

    Attributes:
        draws: selections drawn so far. With the seed it fixes the next one, so it is the state of that generator.
        skipped_updates: updates left out because a gradient was not finite.
        parts: by key, the state of each method and controller. What a run does not know is kept as it is.
    """

    draws: int = 0
    skipped_updates: int = 0
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `entropy_state.json` into `folder`, whole or not at all."""
        path = Path(folder) / STATE_FILE
        body = {"format": FORMAT, "state": asdict(self)}
        return write_whole(path, json.dumps({**body, "sha256": _digest(body)}, indent=2))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "EntropyState | None":
        """Read the state from a checkpoint, `None` when it has none. Reads format 1 of version 0.1, too.

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
            version = content.get("format", 1)
            if version not in (1, FORMAT):
                raise ValueError(f"its format is {version}, this version reads 1 and {FORMAT}")
            return cls(**(_of_format_1(content["state"]) if version == 1 else content["state"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStateError(
                f"{path} is damaged ({error}). Resume from an earlier checkpoint, or delete the file to go on without "
                "it: the anchor is then measured anew, from the policy as it is now, unless siren_anchor gives it."
            ) from error


def _of_format_1(state: dict[str, Any]) -> dict[str, Any]:
    """One flat list of SIREN's numbers, the guard's one factor for all coefficients, and the counters."""
    siren = {name: state[name] for name in ("anchor", "entropy", "measured_under", "counted_share")}
    scale = state["guard_scale"]
    parts: dict[str, dict[str, Any]] = {}
    if siren["anchor"] is not None or siren["entropy"] is not None:
        parts["siren"] = siren
    if scale != 1.0:
        parts["entropy_guard"] = {"scales": {"siren": scale, "entropy_coef": scale}}
    return {"draws": state["draws"], "skipped_updates": state["skipped_updates"], "parts": parts}


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
