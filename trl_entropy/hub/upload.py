"""What of a run's folder goes to the Hub: what is named here, without secrets, prompts and places of this machine."""

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .clean import Cleaner


logger = logging.getLogger(__name__)

DESTINATION_FILE = "push.json"
# Of an evaluation, without its problems and their answers
RESULTS = ("format", "settings", "versions", "figures", "comparisons")


@dataclass
class Stage:
    """A folder to upload, and what of the run's stays where it is."""

    path: Path
    went: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """What stays, in a line; empty when nothing does."""
        folders = {name.partition("/")[0] for name in self.went}
        parts = [name.split("/") for name in self.left_out if name != DESTINATION_FILE]
        names = {f"{p[0]}/.../{p[-1]}" if p[0] in folders else p[0] + "/" * (len(p) > 1) for p in parts}
        return f"Not uploaded: {', '.join(sorted(names))}." if names else ""


@contextmanager
def staged(folder: str | Path, checkpoint: bool = False) -> Iterator[Stage]:
    """A folder to upload instead of `folder`: links to what may go as it is, cleaned copies of what may go cleaned.

    Of a `checkpoint`, from which a run is to be resumed, the states of optimizer and generators go, too.
    """
    folder = Path(folder).absolute()
    clean = Cleaner(folder)
    with TemporaryDirectory() as parent:
        stage = Stage(Path(parent, "run"))
        stage.path.mkdir()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            write = _way(name, checkpoint)
            there = stage.path / (_event_name(path) if write is _events else name)
            if write is None or (clean.text(name) != name and write is not _events):
                stage.left_out.append(name)
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(path, there, clean)
            except OSError:
                raise
            except Exception:  # whatever is wrong with it: what cannot be cleaned stays
                there.unlink(missing_ok=True)
                stage.left_out.append(name)
            else:
                stage.went.append(name)
        yield stage


class CleanedUploads:
    """The Trainer's `HfApi`; what it uploads of a folder is cleaned first, and a checkpoint then finished."""

    def __init__(self, hub: Any, finish: Callable[[Path], None]):
        self._hub, self._finish = hub, finish

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)

    def upload_folder(self, *, folder_path: str, path_in_repo: str | None = None, **arguments: Any) -> Any:
        """As of the Hub; the staged folder lives until the upload has ended."""
        checkpoint = path_in_repo is not None
        with ExitStack() as stack:
            stage = stack.enter_context(staged(folder_path, checkpoint))
            if checkpoint:
                self._finish(stage.path)
            _say(stage.line)
            sent = self._hub.upload_folder(folder_path=stage.path, path_in_repo=path_in_repo, **arguments)
            if hasattr(sent, "add_done_callback"):
                until = stack.pop_all()
                sent.add_done_callback(lambda _: until.close())
        return sent


@contextmanager
def cleaned_uploads(finish: Callable[[Path], None]) -> Iterator[None]:
    """Let what the Trainer uploads in this context be cleaned first."""
    import transformers.trainer

    hub = transformers.trainer.hf_api
    transformers.trainer.hf_api = lambda: CleanedUploads(hub(), finish)  # type: ignore[assignment]
    try:
        yield
    finally:
        transformers.trainer.hf_api = hub


@cache
def _say(line: str) -> None:
    """Once, though every save is pushed."""
    if line:
        logger.warning(line)


def _link(path: Path, there: Path, clean: Cleaner) -> None:
    there.symlink_to(path.resolve())


def _verbatim(path: Path, there: Path, clean: Cleaner) -> None:
    if not clean.is_safe(path.read_bytes()):
        raise ValueError("holds a secret")
    _link(path, there, clean)


def _weights(path: Path, there: Path, clean: Cleaner) -> None:
    """Safetensors: tensors behind a JSON header, in which anybody may note anything."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        if file.tell() + max(ends, default=0) != path.stat().st_size:
            raise ValueError("holds more or less than its tensors")
        notes = header.get("__metadata__", {})
        cleaned = clean.value(notes)
        if cleaned == notes:
            return _link(path, there, clean)
        raw = json.dumps({**header, "__metadata__": cleaned}).encode()
        with there.open("wb") as out:
            out.write((len(raw) + -len(raw) % 8).to_bytes(8, "little") + raw + b" " * (-len(raw) % 8))
            shutil.copyfileobj(file, out)


def _json(path: Path, there: Path, clean: Cleaner, record: bool = False, keys: tuple[str, ...] | None = None) -> None:
    """A JSON object; one that is clean already is not written anew."""
    content = json.loads(path.read_text(encoding="utf-8"))
    cleaned = clean.value({k: v for k, v in content.items() if k in keys} if keys else content, record=record)
    if cleaned == content:
        return _link(path, there, clean)
    there.write_text(json.dumps(cleaned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _rows(path: Path, there: Path, clean: Cleaner) -> None:
    with there.open("w", encoding="utf-8") as out:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                out.write(json.dumps(clean.row(json.loads(line))) + "\n")
            except ValueError:  # cut off
                continue


def _text(path: Path, there: Path, clean: Cleaner, paths: bool = True) -> None:
    there.write_text(clean.text(path.read_text(encoding="utf-8"), paths=paths), encoding="utf-8")


def _picture(path: Path, there: Path, clean: Cleaner) -> None:
    """The pixels, without what a PNG says beside them."""
    from matplotlib.image import imread, imsave

    try:
        pixels = imread(path)
    except OSError as error:
        raise ValueError(f"{path} is no picture") from error
    imsave(there, pixels)


def _events(path: Path, there: Path, clean: Cleaner) -> None:
    """TensorBoard's scalars: a run's arguments stand in its texts, its machine in the file's name."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.record_writer import RecordWriter
    from tensorboard.util.tensor_util import make_ndarray

    with there.open("wb") as file:
        out = RecordWriter(file)
        for event in EventFileLoader(str(path)).Load():
            kept = Event(wall_time=event.wall_time, step=event.step)
            if event.HasField("file_version"):
                kept.file_version = "brain.Event:2"
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    number = float(make_ndarray(value.tensor).item())
                    kept.summary.value.add(tag=clean.text(value.tag), simple_value=number)
            if kept.HasField("file_version") or kept.summary.value:
                out.write(kept.SerializeToString())


def _event_name(path: Path) -> str:
    seconds = path.name.split(".")[3]
    return f"runs/{seconds}/events.out.tfevents.{seconds}.{sum(path.name.encode()) % 1000}"


_CONFIG = r"(generation_|adapter_|tokenizer_|(pre|video_pre)?processor_|image_processor_|feature_extractor_)?config"
_CODE = r"(modeling|modular|configuration|tokenization|feature_extraction|(image_|video_)?processing)_\w+\.py"
# What may go, and how
_WAYS: dict[str, Callable[[Path, Path, Cleaner], None]] = {
    r"(model|adapter_model)[\w.-]*\.safetensors": _weights,
    rf"({_CONFIG}|special_tokens_map|chat_template|model\.safetensors\.index)\.json": _json,
    r"(tokenizer|tekken|vocab|added_tokens)\.json|(vocab|merges)\.txt|[\w.-]+\.(model|spm|tiktoken)": _verbatim,
    rf"chat_template\.jinja|additional_chat_templates/[\w-]+\.jinja|{_CODE}": partial(_text, paths=False),
    r"(settings|trainer_state)\.json": partial(_json, record=True),
    r"entropy_state\.json": _verbatim,  # carries a checksum
    r"(metrics(-\d+)?|entropy_dynamics|(evaluation/(.+/)?)?entropy_reward)\.jsonl": _rows,
    r"evaluation/(.+/)?results\.json": partial(_json, record=True, keys=RESULTS),
    r"README\.md|(LICENSE|NOTICE)(\.\w+)?|evaluation/(.+/)?(results\.md|pass_at_k\.svg)": _text,
    r"entropy_control\.png|evaluation/(.+/)?pass_at_k\.png": _picture,
    r"((runs|logs)/(.+/)?)?events\.out\.tfevents\.\d+\..+": _events,
}
# What a run needs beside it to go on: tensors and numbers
_STATES = re.compile(
    r"(optimizer|scheduler|scaler|pytorch_model_fsdp)\.(pt|bin)|(rng_state|random_states)(_\d+)?\.(pth|pkl)|latest"
    r"|checkpoint_files\.json|global_step\d+/\w+\.pt|(optimizer|pytorch_model_fsdp)_\d+/[\w.]+|\w+/adapter_model\.safetensors"
)


def _way(name: str, checkpoint: bool) -> Callable[[Path, Path, Cleaner], None] | None:
    if checkpoint and _STATES.fullmatch(name):
        return _link
    if checkpoint and re.fullmatch(r"\w+/adapter_config\.json", name):
        return _json
    return next((way for pattern, way in _WAYS.items() if re.fullmatch(pattern, name)), None)
