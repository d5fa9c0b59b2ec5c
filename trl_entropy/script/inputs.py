"""What a training run is given, checked before a model loads: rewards, tools, data, checkpoint, model, engine."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ..evaluate.benchmarks import BENCHMARKS
from ..evaluate.models import check_model
from ..reliability import checkpoints
from .arguments import Arguments, EntropyScriptArguments
from .data import check_dataset_arguments
from .mixture import Mixture
from .monitors import check_monitors
from .reward_names import REWARDS, imported, reward_function
from .trl_values import check_trackers, check_trl_values


def check_inputs(given: Arguments) -> None:
    """Check everything that can be checked without loading a dataset or a model, whatever is installed here.

    Raises:
        ValueError: when there is no reward, no model, no dataset or two, an unknown word, reward, tool or benchmark, a
            reward model of another kind, an argument that would have no effect, a stream without an end, or a
            checkpoint that cannot be resumed from.
        FileNotFoundError: when a local model, dataset or reward model is not there.
    """
    script, args, columns = given.script, given.args, given.columns
    if not (script.reward_funcs or script.reward_model_name_or_path):
        raise ValueError(f"No reward was given. Set reward_funcs to one or more of {', '.join(REWARDS)}, or a path.")
    rewards = reward_functions(given)
    if script.reward_model_name_or_path:
        check_reward_model(script.reward_model_name_or_path)
    for path in script.tools or []:
        imported(path, "tools")
    if not given.model.model_name_or_path:
        raise ValueError("No model was given. Set model_name_or_path to a Hub id or a local folder.")
    _named("model_name_or_path", given.model.model_name_or_path)
    check_data(script, given.mixture, endless=args.max_steps <= 0)
    if columns.solution_after and not columns.solution_column:
        raise ValueError(
            f"solution_after={columns.solution_after!r} has no effect without solution_column. Set solution_column to "
            "the column that holds the reference answer."
        )
    check_trl_values(args, len(rewards) + bool(script.reward_model_name_or_path))
    check_monitors(given.monitors, args.report_to)
    check_heldout(given.monitors.heldout_benchmark)
    check_checkpoint(args.resume_from_checkpoint, str(args.output_dir))


def check_installed(given: Arguments) -> None:
    """Raise `ValueError` for an engine or a tracker that is asked for and not installed here."""
    args = given.args
    if args.use_vllm and args.vllm_mode == "colocate" and find_spec("vllm") is None:
        raise ValueError(
            'use_vllm=True, but vLLM is not installed here. Install the extra (pip install ".[vllm]"), or set '
            "use_vllm=False (slow)."
        )
    check_trackers(args)


def reward_functions(given: Arguments) -> list[tuple[str, Callable]]:
    """Name and function of every reward function that was asked for."""
    return [(name, reward_function(name, given.args)) for name in given.script.reward_funcs or []]


def check_heldout(name: str | None) -> None:
    """Raise for a `heldout_benchmark` that is neither the name of a benchmark nor a file."""
    from .spelling import did_you_mean

    if name is None or name in BENCHMARKS or Path(name).is_file():
        return
    raise FileNotFoundError(
        f"heldout_benchmark={name!r} is neither a file nor one of {', '.join(BENCHMARKS)}."
        f"{did_you_mean(name, BENCHMARKS)}"
    )


def _named(argument: str, model: str) -> None:
    try:
        check_model(model)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{argument}: {error}") from error


def check_reward_model(model: str) -> None:
    """Check what is there locally of a reward model: any other model would get a head of random numbers, silently.

    Raises:
        ValueError, FileNotFoundError: for a missing folder, one without a model, or a model with another head.
    """
    _named("reward_model_name_or_path", model)
    config = Path(model).expanduser() / "config.json"
    found = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    heads = found.get("architectures") or []
    if heads and "auto_map" not in found and not any(head.endswith("ForSequenceClassification") for head in heads):
        raise ValueError(
            f"reward_model_name_or_path: {model} is a {', '.join(heads)}, not a sequence-classification model. "
            "Give one that was trained to score."
        )


def check_data(script: EntropyScriptArguments, mixture: Mixture, endless: bool) -> None:
    """Check that there is one source of data, and no argument that belongs to the other kind or that it cannot serve.

    Raises:
        ValueError, FileNotFoundError: as [`check_inputs`].
    """
    if bool(mixture.datasets) == bool(script.dataset_name):
        given = "Both datasets and dataset_name were" if mixture.datasets else "Neither datasets nor dataset_name was"
        raise ValueError(f"{given} given. Set exactly one of them.")
    names = ("dataset_config", "dataset_streaming") if mixture.datasets else ("streaming", "test_split_size")
    idle = [name for name in names if getattr(script if mixture.datasets else mixture, name) not in (None, False)]
    if idle:
        source, other = ("datasets", "dataset_name") if mixture.datasets else ("dataset_name", "datasets")
        raise ValueError(f"{', '.join(idle)}: no effect on {source}, only on {other}.")
    if script.dataset_name:
        check_dataset_arguments(script.dataset_name, script.dataset_config, script.dataset_streaming)
    mixture.check_files()
    if (script.dataset_streaming or mixture.streaming) and endless:
        raise ValueError("A stream has no length: set max_steps, or load the data without streaming.")


def is_on_hub(checkpoint: str | bool | None) -> bool:
    """Whether `resume_from_checkpoint` says `hub`, the run's own repository, or `hub:user/name`."""
    return isinstance(checkpoint, str) and (checkpoint == "hub" or checkpoint.startswith("hub:"))


def check_checkpoint(wanted: str | bool | None, run: str) -> None:
    """Raise `IncompleteCheckpointError`, a `ValueError`, unless `resume_from_checkpoint` can be resumed from.

    Args:
        wanted: a local folder, "true" for the newest complete one in `run`, or what names one on the Hub, which is
            checked when it has been fetched.
        run: the run's `output_dir`.
    """
    if not wanted or is_on_hub(wanted):
        return
    if str(wanted).lower() == "true":
        if checkpoints.newest_complete(run, contents=False)[0] is None:
            raise checkpoints.IncompleteCheckpointError(
                f"resume_from_checkpoint=True, but {run} holds no complete checkpoint. Start without it, or name one "
                "elsewhere."
            )
        return
    problem = checkpoints.flaw(str(wanted), contents=False)
    if problem:
        raise checkpoints.IncompleteCheckpointError(f"{wanted} cannot be resumed from: {problem}.")
