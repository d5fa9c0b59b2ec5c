"""What `trl-entropy grpo` measures beside training, switched on from a YAML file."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.quick import published, quick
from trl_entropy.script import train
from trl_entropy.script.arguments import parse
from trl_entropy.script.data import ColumnArguments
from trl_entropy.script.monitors import MonitorArguments, add_monitors, check_monitors, heldout, name_run
from trl_entropy.script.splits import load_data


SIREN, GRPO = published("siren"), published("grpo")


def test_pass_at_k_on_a_file_beside_training(model, data, tmp_path):
    """A file with the training data's own columns, SIREN on, two steps."""
    given = quick(
        SIREN,
        model,
        data,
        tmp_path / "out",
        max_steps=2,
        solution_column="answer",
        solution_after="x",
        prompt_column="question",
        heldout_benchmark=data,
        heldout_steps=2,
        heldout_samples=3,
        heldout_problems=4,
        system_prompt="",
    )
    train.main(given)
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    logged = {row["step"]: row for row in history if "heldout/pass_at_3" in row}
    assert set(logged) == {1, 2}
    assert "heldout/maj_at_3" in logged[2]
    points = [json.loads(line) for line in (tmp_path / "out" / "entropy_reward.jsonl").read_text().splitlines()]
    assert [point["step"] for point in points] == [0, 2]


def test_the_law_and_the_figures_beside_training(model, data, tmp_path):
    pytest.importorskip("tensorboard")
    added = []

    class Watched(train.Inputs):
        def train(self, words=None):
            added.extend(type(c).__name__ for c in super().train(words).callback_handler.callbacks)

    words = quick(GRPO, model, data, tmp_path / "out", report_to="tensorboard", log_entropy_law=True, log_figures=True)
    Watched.load(parse(words)).train()
    assert {"EntropyLawCallback", "PictureCallback"} <= set(added)
    assert list((tmp_path / "out").rglob("events.out.tfevents.*"))


def test_problems_are_asked_as_the_training_data_is(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text('{"task": "1 + 1", "answer": "2"}\n{"task": "2 + 2", "answer": "4"}\n')
    asked = {}
    for system_prompt in (None, "Think."):
        columns = ColumnArguments("task", system_prompt=system_prompt)
        benchmark, problems = heldout(MonitorArguments(heldout_benchmark=str(path), heldout_problems=1), columns)
        assert benchmark.grader == "math"
        [asked[system_prompt]] = [problem.prompt for problem in problems]
    assert asked["Think."] == "1 + 1"
    assert asked[None].startswith("1 + 1\nPlease reason step by step")
    benchmark, problems = heldout(MonitorArguments(heldout_benchmark="countdown"), ColumnArguments())
    assert (benchmark.grader, len(problems)) == ("countdown", 677)
    assert heldout(MonitorArguments(), ColumnArguments()) is None


@pytest.mark.parametrize(("prompt", "chat"), [("1 + 1", "never"), ([{"role": "user", "content": "1 + 1"}], "always")])
def test_a_chat_template_is_applied_where_training_applies_it(prompt, chat):
    added = []
    args = SimpleNamespace(max_completion_length=8, temperature=0.7)
    trainer = SimpleNamespace(args=args, add_callback=added.append)
    monitors = MonitorArguments(heldout_benchmark="countdown", heldout_problems=2)
    columns = ColumnArguments()
    add_monitors(trainer, monitors, heldout(monitors, columns), columns, prompt)
    assert (added[0].chat, added[0].sampling.temperature) == (chat, 0.7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heldout_steps": 10}, "heldout_steps=10 was given but heldout_benchmark is not set"),
        ({"heldout_problems": 10}, "heldout_problems=10 was given but heldout_benchmark is not set"),
        ({"heldout_benchmark": "countdown", "heldout_samples": 0}, "heldout_samples=0 is not allowed"),
        ({"log_figures": True}, "names no tracker that takes images"),
    ],
)
def test_settings_that_make_no_sense(given, message):
    with pytest.raises(ValueError, match=message):
        check_monitors(MonitorArguments(**given), [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"heldout_benchmark": "missing.jsonl"},
            "heldout_benchmark='missing.jsonl' is neither a file nor one of aime24",
        ),
        ({"heldout_samples": 4}, "heldout_samples=4 was given but heldout_benchmark is not set"),
        ({"steps_per_generation": 20}, "The training data has 16 rows, but a rollout takes 20 prompts"),
    ],
)
def test_refused_before_the_model_loads(change, message, data, tmp_path):
    content = yaml.safe_load(SIREN.read_text())
    content.pop("generation_batch_size")
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit, match=f"^trl-entropy: .*{message}"):
        train.main(quick(config, "no/such-model", data, tmp_path / "out", **change))


def test_the_example_that_ships_its_data_has_enough_of_it(monkeypatch):
    """Loaded as it is, but for device and model: fewer rows than a rollout takes would be refused here."""
    monkeypatch.chdir(Path(__file__).parents[1])
    words = ["--config", "configs/example_code.yaml", "--use_cpu", "true", "--bf16", "false", "--report_to", "none"]
    rows, _ = load_data(parse(words))
    assert len(rows) == 8


@pytest.mark.parametrize(
    ("given", "variable", "named"),
    [
        ((), None, ("siren_7b", "siren_7b")),
        (("run_name",), None, ("mine", "siren_7b")),
        (("project",), None, ("siren_7b", "huggingface")),  # whoever gives the default means it
        ((), "WANDB_NAME", ("mine", "siren_7b")),
        ((), "TRACKIO_PROJECT", ("siren_7b", "huggingface")),
    ],
)
def test_trackers_name_the_run_after_its_folder(given, variable, named, monkeypatch):
    for name in ("WANDB_NAME", "TRACKIO_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "theirs")
    args = SimpleNamespace(output_dir="outputs/siren_7b/", run_name="mine", project="huggingface")
    name_run(args, given)
    assert (args.run_name, args.project) == named


def test_a_run_in_this_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = SimpleNamespace(output_dir=".", run_name=None, project="huggingface")
    name_run(args, ())
    assert args.run_name == args.project == tmp_path.name
