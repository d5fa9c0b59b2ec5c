"""What entropy control must remember from one optimizer step to the next, and across a restart."""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import EntropyGRPOConfig
from ..durable import write_whole


logger = logging.getLogger(__name__)

STATE_FILE = "entropy_state.json"


class DamagedStateError(ValueError):
    """A checkpoint's entropy state is there but cannot be trusted."""


@dataclass
class EntropyState:
    """The state saved in every checkpoint.

    Attributes:
        anchor: nucleus entropy of the initial policy, nats; `None` until measured.
        entropy: nucleus entropy of the last optimizer step, nats; `None` before the first.
        measured_under: the settings under which the anchor was measured; `None` without an anchor.
        counted_share: share of an optimizer step's sequences that have a regularized token, averaged over steps.
        draws: selections drawn so far. With the seed it fixes the next one, so it is the state of that generator.
        skipped_updates: updates left out because a gradient was not finite.
        guard_scale: factor in (0, 1] that the entropy guard has put on the entropy coefficients.
    """

    anchor: float | None = None
    entropy: float | None = None
    measured_under: dict[str, Any] | None = None
    counted_share: float = 1.0
    draws: int = 0
    skipped_updates: int = 0
    guard_scale: float = 1.0

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `entropy_state.json` into `folder`, whole or not at all."""
        path = Path(folder) / STATE_FILE
        body = {"state": asdict(self)}
        return write_whole(path, json.dumps({**body, "sha256": _digest(body)}, indent=2))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "EntropyState | None":
        """Read the state from a checkpoint, `None` when it has none.

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
            return cls(**content["state"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStateError(
                f"{path} is damaged ({error}). Resume from an earlier checkpoint, or delete the file to go on without "
                "it: the anchor is then measured anew, from the policy as it is now, unless siren_anchor gives it."
            ) from error


def measured_under(args: EntropyGRPOConfig) -> dict[str, Any]:
    """The settings on which the value of an anchor depends."""
    names = ("siren_top_p", "siren_quantile", "siren_nucleus", "temperature")
    return {name: getattr(args, name) for name in names}


def fresh(args: EntropyGRPOConfig) -> EntropyState:
    """The state with which a run begins: with `siren_anchor` for its anchor, if that was given."""
    state = EntropyState()
    if args.siren_anchor is not None:
        state.anchor, state.measured_under = args.siren_anchor, measured_under(args)
    return state


def restored(checkpoint: str, args: EntropyGRPOConfig) -> EntropyState:
    """The state with which a run resumed from `checkpoint` goes on; says so where the anchor is not the saved one.

    Raises:
        DamagedStateError: as [`EntropyState.load`].
    """
    state = EntropyState.load(checkpoint)
    if state is None:
        logger.warning(
            f"{checkpoint} holds no entropy state: it was not saved by EntropyGRPOTrainer with a method on. The "
            "anchor is siren_anchor if given, else it is measured on the next optimizer step, from the policy as "
            "it is now."
        )
        state = fresh(args)
    elif args.siren:
        _check_anchor(state, checkpoint, args)
    if args.siren and args.siren_anchor is not None:
        state.anchor, state.measured_under = args.siren_anchor, measured_under(args)
    if args.entropy_guard != "lower" and state.guard_scale != 1.0:
        logger.warning(
            f"{checkpoint} had the entropy coefficients lowered to x {state.guard_scale:g} by its guard; this run has "
            f"entropy_guard={args.entropy_guard!r}, so they are whole again."
        )
        state.guard_scale = 1.0
    return state


def _check_anchor(state: EntropyState, checkpoint: str, args: EntropyGRPOConfig) -> None:
    """Forget an anchor that does not compare with what this run measures; say so where another one is used."""
    if state.anchor is None:
        if args.siren_anchor is None:
            logger.warning(
                f"{checkpoint} was saved without SIREN, so it holds no anchor: it is measured on the next optimizer "
                "step, from the policy as it is now. Set siren_anchor to choose it."
            )
    elif state.measured_under != measured_under(args):
        outcome = "is measured anew on the next optimizer step. Set siren_anchor to choose it."
        if args.siren_anchor is not None:
            outcome = f"is siren_anchor={args.siren_anchor}."
        logger.warning(
            f"{checkpoint} measured its entropy under {state.measured_under}, this run has {measured_under(args)}: "
            f"the two do not compare, so the saved anchor is not used; the anchor {outcome}"
        )
        state.anchor = state.entropy = None
        state.counted_share = 1.0
    elif args.siren_anchor not in (None, state.anchor):
        logger.warning(f"The anchor is siren_anchor={args.siren_anchor}, not the {state.anchor} of {checkpoint}.")


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
