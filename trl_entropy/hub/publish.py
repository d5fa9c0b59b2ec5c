"""To the Hub and back: a push whose failure loses nothing, and a checkpoint fetched to go on from."""

import json
import os
import re
import shlex
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import TrainingArguments

from .. import TrlEntropyError
from .upload import DESTINATION_FILE, staged


if TYPE_CHECKING:
    from ..grpo_trainer import EntropyGRPOTrainer


WEIGHTS = ("model*.safetensors", "adapter_model*.safetensors")
# huggingface_hub waits for ever for a server that says nothing; it retries six times
SECONDS_OF_SILENCE = 180.0

_AGAIN = "Nothing is wrong on this side: push again later."
_CHANGED = "Something else changed the repository at the same moment. Push again."
_REMEDIES = {
    401: "The Hub does not accept the token. Log in with `hf auth login`, or set HF_TOKEN to one with write access.",
    402: "The account's storage is used up. Free some of it, or push to another account with --repo.",
    403: "The token may not write there. Use a token with write access, or choose another repository with --repo.",
    404: "The Hub does not know that repository or revision. Check the name, and that the token may see it.",
    409: _CHANGED,
    412: _CHANGED,
    413: "A file is larger than the Hub takes. Save in smaller shards.",
    429: f"The Hub asks for fewer requests. {_AGAIN}",
}


class PushFailedError(TrlEntropyError, RuntimeError):
    """A push did not arrive. The message says why, what is saved, and how to push again."""


class NoModelError(TrlEntropyError, FileNotFoundError):
    """A folder to push is none, or holds no model."""


class HubError(TrlEntropyError, ValueError):
    """What is to come from the Hub, or a note on where to push, cannot be read."""


@dataclass(frozen=True)
class Destination:
    """Where a run goes: `user/name`, or `name` for the token's owner, at a branch or the default one.

    `private` says whether a repository created for it is; `None` leaves it to the owner's default.
    """

    repo_id: str
    private: bool | None = None
    revision: str | None = None

    @classmethod
    def of(cls, args: TrainingArguments) -> "Destination":
        """Where the arguments of a run say: `hub_model_id`, or the name of its folder."""
        name = args.hub_model_id or _repository_name(args.output_dir or ".")
        return cls(name, args.hub_private_repo, args.hub_revision)

    @classmethod
    def remembered(cls, folder: str | Path) -> "Destination":
        """Where a push of this folder was to go; a new repository named like the folder if there was none."""
        path = Path(folder) / DESTINATION_FILE
        if not path.is_file():
            return cls(_repository_name(folder))
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise HubError(f"{path} is damaged ({error}). Delete it and name the repository with --repo.") from error

    def remember(self, folder: str | Path) -> None:
        """Leave a note for [`remembered`] in the folder. It never holds a token."""
        (Path(folder) / DESTINATION_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")


def _repository_name(folder: str | Path) -> str:
    """The folder's name in the letters that the Hub allows."""
    return re.sub(r"[^\w.-]+|--+|\.\.+", "-", Path(folder).absolute().name, flags=re.ASCII).strip("-.") or "run"


def explain(error: BaseException) -> str:
    """What happened and what to do about it, in two sentences."""
    from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    first_line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    what = f"{type(error).__name__}: {first_line}".rstrip(": ")
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub was not asked. Unset it on a machine that reaches the Hub."
    if isinstance(error, LocalTokenNotFoundError):
        return f"{what}. Log in with `hf auth login`, or set HF_TOKEN."
    if status is not None:
        return f"The Hub answered {status} ({first_line}). {_REMEDIES.get(status, _AGAIN * (status >= 500))}".rstrip()
    if "Timeout" in type(error).__name__:
        return f"The Hub did not answer in time ({what}). {_AGAIN}"
    if any(kind.__name__ in ("TransportError", "ConnectionError") for kind in type(error).__mro__):
        return f"The connection was lost ({what}). Check the network and push again."
    return f"{what}."


def patient_session() -> None:
    """Give the Hub's client a limit of silence where it has none."""
    from huggingface_hub import get_session

    session = get_session()
    if session.timeout.read is None:
        session.timeout = SECONDS_OF_SILENCE


def push_folder(folder: str | Path, destination: Destination | None = None, token: str | None = None) -> str:
    """Upload a saved run to the Hub and return its address.

    Its card is brought up to date first: figures and picture from the log, pass@k from `folder/evaluation`. Only what
    [`trl_entropy.hub.upload`] names goes, without secrets, prompts and paths of this machine; a line names the rest.

    The destination stays in the folder until the push has arrived: a second call without one repeats the first.

    Without one the repository is named like the folder. The token is by default that of `hf auth login` or `HF_TOKEN`.

    Raises:
        NoModelError: when the folder is none, or holds no model.
        CardError: when an evaluation in the folder is damaged.
        PushFailedError: when the push did not arrive. Nothing is lost, and the push can be repeated.
    """
    from huggingface_hub import HfApi

    from .card import name_repository, refresh_card

    check_is_pushable(folder)
    refresh_card(folder)
    destination = destination or Destination.remembered(folder)
    destination.remember(folder)
    try:
        patient_session()
        hub = HfApi(token=token)
        repo_id = hub.create_repo(destination.repo_id, private=destination.private, exist_ok=True).repo_id
        name_repository(folder, repo_id)
        with staged(folder) as stage:
            check_is_pushable(stage.path)
            hub.upload_folder(
                repo_id=repo_id,
                folder_path=stage.path,
                commit_message="Trained with trl_entropy",
                revision=destination.revision,
            )
    # Whatever it was, the training behind it must not be lost: no kind of error may pass unexplained here
    except Exception as error:
        raise PushFailedError(
            f"The push to {destination.repo_id} failed. {explain(error)}\n"
            f"Everything is saved in {folder}. To push again:  trl-entropy push {shlex.quote(str(folder))}"
        ) from error
    (Path(folder) / DESTINATION_FILE).unlink()
    if stage.line:
        print(stage.line)
    return f"{hub.endpoint}/{repo_id}"


def check_is_pushable(folder: str | Path) -> None:
    """Raise `NoModelError` unless the folder holds a model or an adapter; name a checkpoint that does."""
    path = Path(folder)
    if not path.is_dir():
        raise NoModelError(f"{folder} is not a folder. Give the output_dir of a run.")
    if not any(next(path.glob(pattern), None) for pattern in WEIGHTS):
        checkpoints = sorted(path.glob("checkpoint-*"), key=lambda p: p.stat().st_mtime)
        hint = f" Its newest checkpoint is {checkpoints[-1]}." if checkpoints else ""
        raise NoModelError(f"{folder} holds no model: none of {', '.join(WEIGHTS)}.{hint}")


def open_repository(args: TrainingArguments) -> str | None:
    """Create the run's repository before anything loads; return what is wrong if that fails.

    Training goes on without it, as the push at the end is tried anew. A token given as an argument moves to the
    environment, because the Trainer saves its arguments.
    """
    if args.hub_token:
        os.environ["HF_TOKEN"], args.hub_token = args.hub_token, None
    if not args.push_to_hub or args.process_index != 0:
        return None
    from huggingface_hub import HfApi

    to = Destination.of(args)
    try:
        patient_session()
        HfApi().create_repo(to.repo_id, private=to.private, exist_ok=True)
    except Exception as error:  # reported, and raised by the push at the end if it stays
        args.push_to_hub = False  # the Trainer would raise the same error on this process only
        return (
            f"The repository {to.repo_id} cannot be opened now. {explain(error)}\n"
            "Training starts without it and the push is tried again at its end; Ctrl-C to mend it first."
        )
    return None


def save_and_push(trainer: "EntropyGRPOTrainer", dataset_name: str | None, destination: Destination | None) -> None:
    """Save model, state and card, then push them if there is a destination. On every process, as a script's last act.

    Between the two the process group ends, on all processes together. One that exits with the group open may abort,
    upon which the launcher ends the others in the middle of what they save; and a push may take longer than the group
    waits for its members.

    Raises:
        PushFailedError: on the first process, when everything is saved but the push did not arrive.
    """
    args, folder = trainer.args, Path(trainer.args.output_dir or ".")
    # Not yet the Trainer's own push, which would fail before the rest is saved
    trainer.save_model(args.output_dir, _internal_call=True)
    trainer.save_state()
    if destination is not None:
        trainer.callback_handler.on_push_begin(args, trainer.state, trainer.control)
    trainer.create_model_card(model_name=folder.absolute().name, dataset_name=dataset_name)
    trainer.accelerator.print(f"Model saved to {args.output_dir}")
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
    if destination is not None and trainer.is_world_process_zero():
        trainer._finish_current_push()
        print(f"Model pushed to {push_folder(folder, destination)}")


def fetch_checkpoint(spec: str, args: TrainingArguments) -> str:
    """Download the checkpoint that `resume_from_checkpoint` names on the Hub, and return its local folder.

    Args:
        spec: `hub` for the run's own repository, or `hub:user/name` for another's. The repository was pushed with
            `hub_strategy` `checkpoint` or `all_checkpoints`; the newest checkpoint is taken.
        args: the run's arguments; the checkpoint goes to `output_dir/checkpoint-STEP`.

    Raises:
        HubError: when the repository cannot be read or holds no checkpoint.
    """
    from huggingface_hub import HfApi

    repo_id = spec.removeprefix("hub").removeprefix(":") or args.hub_model_id
    if not repo_id:
        raise HubError("resume_from_checkpoint='hub' needs hub_model_id. Set it, or give hub:USER/NAME.")
    try:
        patient_session()
        patterns = ["last-checkpoint/*", "checkpoint-*/*"]
        folder = HfApi().snapshot_download(repo_id, revision=args.hub_revision, allow_patterns=patterns)
    except Exception as error:
        raise HubError(f"resume_from_checkpoint={spec!r}: {repo_id} could not be read. {explain(error)}") from error
    found = {_step(path.parent): path.parent for path in Path(folder).glob("*checkpoint*/trainer_state.json")}
    if not found:
        raise HubError(
            f"resume_from_checkpoint={spec!r}: {repo_id} holds no checkpoint. It must have been pushed with "
            "hub_strategy 'checkpoint' or 'all_checkpoints'."
        )
    newest = max(found)
    target = Path(args.output_dir or ".") / f"checkpoint-{newest}"
    if args.process_index == 0 and not target.exists():
        part = target.with_name(f".{target.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(found[newest], part)
        part.rename(target)
    if args.distributed_state is not None:
        args.distributed_state.wait_for_everyone()
    return str(target)


def _step(checkpoint: Path) -> int:
    return int(json.loads((checkpoint / "trainer_state.json").read_text())["global_step"])
