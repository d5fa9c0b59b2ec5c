"""The arguments of training: TRL's and ours, from a YAML file and a command line, each of the right kind."""

import functools
import os
import types
import typing
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NoReturn, cast

from accelerate.commands.launch import launch_command_parser
from trl import GRPOConfig, ModelConfig, ScriptArguments, TrlParser

from ..config import EntropyGRPOConfig
from .config_file import config_argument, read_config, words_at_home
from .data import ColumnArguments
from .mixture import Mixture
from .monitors import MonitorArguments
from .reward_names import REWARDS
from .spelling import did_you_mean


@dataclass
class EntropyScriptArguments(ScriptArguments):
    """What to train on and what to reward, as in `trl grpo`.

    Parameters:
        reward_funcs (`list[str]`, *optional*):
            Names from the table of rewards, or dotted import paths such as `my_package.rewards.my_reward`.
        reward_model_name_or_path (`str`, *optional*):
            A sequence-classification model used as a reward, by Hub id or local path.
        tools (`list[str]`, *optional*):
            Dotted import paths of functions that the model may call while it generates.
    """

    reward_funcs: list[str] | None = field(
        default=None,
        metadata={"help": f"Rewards: {', '.join(REWARDS)}, or dotted import paths."},
    )
    reward_model_name_or_path: str | None = field(
        default=None, metadata={"help": "A sequence-classification model used as a reward, by Hub id or local path."}
    )
    tools: list[str] | None = field(
        default=None, metadata={"help": "Dotted import paths of functions that the model may call while it generates."}
    )


@dataclass(frozen=True)
class Arguments:
    """The six groups that a run is described by, and the names that were given."""

    script: EntropyScriptArguments
    args: EntropyGRPOConfig
    model: ModelConfig
    mixture: Mixture
    columns: ColumnArguments
    monitors: MonitorArguments
    given: frozenset[str] = frozenset()


class _Parser(TrlParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. `trl-entropy grpo --help` lists the arguments.")


def make_parser(config: type[EntropyGRPOConfig] = EntropyGRPOConfig) -> TrlParser:
    """The parser of the training script: six groups of arguments. Bad input raises `ValueError`."""
    groups = (EntropyScriptArguments, config, ModelConfig, Mixture, ColumnArguments, MonitorArguments)
    return _Parser(cast(list, groups), prog="trl-entropy grpo")


def parse(argv: Iterable[str], config: type[EntropyGRPOConfig] = EntropyGRPOConfig) -> Arguments:
    """Parse a command line, `--config FILE` in it.

    TRL's parser takes the file's values as they are, whatever they are; here each is first brought to the kind of its
    argument. The file's `env` is set in this process, and the launcher's arguments are passed over.

    Args:
        argv: the words.
        config: the class of the training arguments.

    Raises:
        ValueError: for an unknown argument, a value of another kind, or what the arguments' own checks refuse.
    """
    path, words = config_argument(words_at_home(argv))
    parser, content = make_parser(config), read_config(path) if path is not None else {}
    environment = content.pop("env", None) or {}
    if not isinstance(environment, dict):
        raise ValueError(f"env is a {type(environment).__name__}. Give a mapping of names to values.")
    refuse_unknown_arguments([f"--{name}" for name in content])
    hints = {name: hint for group in parser.dataclass_types for name, hint in typing.get_type_hints(group).items()}
    parser.set_defaults(
        **{name: fitting(name, value, hints[name]) for name, value in content.items() if name in hints}
    )
    os.environ.update({str(name): str(value) for name, value in environment.items()})
    try:
        *groups, unknown = parser.parse_args_into_dataclasses(
            words, return_remaining_strings=True, look_for_args_file=False
        )
    except ImportError as error:  # an argument that asks for a package, `deepspeed` say
        raise ValueError(str(error)) from error
    refuse_unknown_arguments(unknown)
    groups[1].check_with()
    if str(groups[1].resume_from_checkpoint).lower() in ("false", "no", "none"):
        groups[1].resume_from_checkpoint = None
    given = {*content, *(argument_name(word) for word in words if word.startswith("--"))}
    return Arguments(*groups, given=frozenset(given))


def argument_name(word: str) -> str:
    """The argument that `--some-name` or `--some_name=value` gives; both spellings are accelerate's and TRL's."""
    return word.removeprefix("--").partition("=")[0].replace("-", "_")


@functools.cache
def training_arguments() -> frozenset[str]:
    """Names that the training script takes."""
    return frozenset(action.dest for action in make_parser()._actions) - {"help"}


@functools.cache
def launcher_arguments() -> frozenset[str]:
    """Names that `accelerate launch` takes, and `accelerate_config`, ours for its `--config_file`."""
    kept = {"config_file", "module", "training_script", "training_script_args", "help"}
    return frozenset(action.dest for action in launch_command_parser()._actions) - kept | {"accelerate_config"}


def refuse_unknown_arguments(words: Iterable[str]) -> None:
    """Raise `ValueError` on words such as `--siren_cof` that name an argument of neither training nor the launcher."""
    known = training_arguments() | launcher_arguments() | {"config", "env"}
    bad = [word for word in words if word.startswith("--") and argument_name(word) not in known]
    if bad:
        raise ValueError(
            f"unknown arguments: {', '.join(bad)}.{did_you_mean(argument_name(bad[0]), known)} `trl-entropy grpo "
            "--help` lists those of training; `accelerate launch --help` those of the launcher."
        )


def fitting(name: str, value: Any, hint: Any) -> Any:
    """A value of the YAML file as its argument takes it: a number, a word, a list, as its type hint says.

    A single value becomes a list of one where a list is wanted, a whole float an integer, a number the text of a text.

    Raises:
        ValueError: for another kind: a boolean for a number, a text that is none of the allowed words, nothing at all.

    Example:
        >>> fitting("reward_funcs", "math_reward", list[str] | None), fitting("max_steps", 1e3, int)
        (['math_reward'], 1000)
    """
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    origins = {typing.get_origin(kind) or kind: kind for kind in kinds}
    words = typing.get_args(origins.get(Literal))
    text = str(value).lower()
    if value is None and name == "report_to":
        return "none"
    if value is None and type(None) not in origins:
        raise ValueError(f"{name} is empty. Give a value, or leave the line out.")
    no_value = text in ("none", "null") or (words and text in ("false", "off", "no"))
    if value is None or (type(None) in origins and str not in origins and value not in words and no_value):
        return None
    if list in origins and not isinstance(value, dict) and (isinstance(value, list) or str not in origins):
        inner = typing.get_args(origins[list])[0]
        return [fitting(f"{name}: entry {i}", item, inner) for i, item in enumerate(_listed(value), 1)]
    if words and (value not in words or isinstance(value, bool)):
        given = f"{name}={value!r} is not allowed; give {' or '.join(map(repr, words))}."
        raise ValueError(given + did_you_mean(str(value), words))
    if name in _BOOLEAN_TEXTS and text in _BOOLEANS:
        return _BOOLEANS[text]
    if str in origins:
        return str(value) if type(value) in (int, float) and origins.keys() <= {str, type(None)} else value
    convert = next((_CONVERTERS[kind] for kind in (bool, int, float) if kind in origins), None)
    return value if convert is None else convert(name, value)


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_BOOLEAN_TEXTS = ("resume_from_checkpoint", "scale_rewards")  # texts to TRL that may be true or false as well


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def _boolean(name: str, value: Any) -> bool:
    if str(value).lower() not in _BOOLEANS:
        raise ValueError(f"{name}={value!r} is neither true nor false.")
    return _BOOLEANS[str(value).lower()]


def _integer(name: str, value: Any) -> int:
    number = _real(name, value)
    if not number.is_integer():
        raise ValueError(f"{name}={value!r} is not a whole number.")
    return int(value) if isinstance(value, int | str) and str(value).lstrip("+-").isdigit() else int(number)


def _real(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r} is not a number.") from None


_CONVERTERS = {bool: _boolean, int: _integer, float: _real}


def help_text() -> str:
    """The arguments, the package's own first."""
    theirs = {f.name for f in fields(GRPOConfig)}
    sections = {
        "what to train on": (EntropyScriptArguments, Mixture, ColumnArguments),
        "entropy control": (EntropyGRPOConfig,),
        "what is measured beside training": (MonitorArguments,),
        "model (TRL)": (ModelConfig,),
        "training (TRL's GRPOConfig)": (GRPOConfig,),
    }
    shown = ArgumentParser(
        prog="trl-entropy grpo",
        usage="%(prog)s --config FILE [--argument value ...]",
        epilog="Arguments of `accelerate launch` may stand on the same line, or in the file.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    shown.add_argument("--config", metavar="FILE", help="a YAML file of arguments; the command line wins")
    actions = make_parser()._actions
    for title, groups in sections.items():
        names = {f.name for group in groups for f in fields(group)} - (set() if GRPOConfig in groups else theirs)
        section = shown.add_argument_group(title)
        for action in actions:
            if action.dest in names:
                section._add_action(action)
    return shown.format_help()
