"""A study file becomes the runs that it says, or one line that says what is wrong with it."""

import json
from pathlib import Path

import pytest
import yaml

from trl_entropy.cli import main
from trl_entropy.study.matrix import START, TRAINING, RunPlan, read_study
from trl_entropy.study.outcome import Outcome
from trl_entropy.study.run_arguments import check, check_bases
from trl_entropy.study.run_queue import jobs_of
from trl_entropy.study.session import hours_left, seconds_per_batch
from trl_entropy.tasks import TASKS


ROOT = Path(__file__).parents[2]
GIVEN = {
    "tasks": {
        "countdown": {
            "batches": 7,
            "evaluations": 3,
            "training": {"learning_rate": "1e-3"},
            "temperatures": [0.5, 1.0],
        },
        "errands": {"methods": ["plain"], "seeds": [5]},
    },
    "seeds": [0, 1],
    "methods": {"plain": {}, "siren": {"siren_coef": 1.0, "siren_top_p": 0.9}},
    "settings": {"siren": [{}, {"siren_coef": "5e-1"}]},
}


def study_of(tmp_path, **changes):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**GIVEN, **changes}))
    return read_study(file, tmp_path / "runs", tmp_path / "results")


def test_the_matrix_is_tasks_by_methods_by_settings_by_seeds(tmp_path):
    runs = study_of(tmp_path).runs()
    assert [(run.task, run.name) for run in runs] == [
        ("countdown", "plain-seed0"),
        ("countdown", "siren-seed0"),
        ("countdown", "siren_siren_coef=0.5-seed0"),
        ("countdown", "plain-seed1"),
        ("countdown", "siren-seed1"),
        ("countdown", "siren_siren_coef=0.5-seed1"),
        ("errands", "plain-seed5"),
    ]
    assert runs[2].arguments == {**TRAINING, "learning_rate": 1e-3, "siren_coef": 0.5, "siren_top_p": 0.9}
    assert runs[0].evaluate_at == [2, 5, 7]
    assert [runs[0].temperatures, runs[-1].temperatures] == [[0.5, 1.0], None]
    assert [run.name for run in study_of(tmp_path).starts()] == [START, START]
    assert runs[0].as_dict() == RunPlan(**runs[0].as_dict()).as_dict()


def test_a_file_of_its_own_folders(tmp_path):
    study = study_of(tmp_path)
    run = study.runs()[0]
    assert study.folder(run) == tmp_path / "runs" / "countdown" / "plain-seed0"
    assert study.result(run) == tmp_path / "results" / "countdown" / "plain-seed0.json"


def test_names_stay_apart_where_a_value_is_no_file_name(tmp_path):
    settings = {"siren": [{"optim_args": "a/b"}, {"optim_args": "a b"}]}
    names = {run.name for run in study_of(tmp_path, settings=settings).runs()}
    assert len(names) == 7 and not any("/" in name or " " in name for name in names)


@pytest.mark.parametrize(
    ("arguments", "steps", "samples"),
    [
        ({}, 2, 384),
        ({"gradient_accumulation_steps": 2}, 1, 384),  # strictly on-policy
        ({"num_iterations": 3}, 6, 384),
        ({"steps_per_generation": 8, "gradient_accumulation_steps": 4}, 2, 96),
    ],
)
def test_steps_and_samples_of_a_batch(tmp_path, arguments, steps, samples):
    run = study_of(tmp_path, methods={"plain": arguments}, settings={}, tasks={"countdown": {}}).runs()[0]
    assert (run.steps_per_batch, run.samples_per_pass) == (steps, samples)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": {"chess": {}}}, ("chess", "countdown, errands, sums")),
        ({"tasks": {}}, ("tasks",)),
        ({"methods": {"start": {}}}, ("start",)),
        ({"methods": {}}, ("methods",)),
        ({"seeds": [1, 1]}, ("seeds", "[1, 1]")),
        ({"settings": {"kl_cov": [{}]}}, ("settings", "kl_cov")),
        ({"budget": 3}, ("budget", "methods, output")),
        ({"tasks": {"countdown": {"batch": 3}}}, ("batch", "batches")),
        ({"tasks": {"countdown": {"batches": 0}}}, ("batches", "0")),
        ({"tasks": {"countdown": {"batches": 3}}}, ("6 evaluations", "3 batches")),
        ({"tasks": {"countdown": {"splits": ["test"]}}}, ("splits", "test", "heldout")),
        ({"tasks": {"countdown": {"problems": 1}}}, ("problems", "1")),
        ({"tasks": {"countdown": {"temperatures": [1.0, 0.0]}}}, ("temperatures", "above 0", "0.0")),
        ({"tasks": {"countdown": {"temperatures": ["warm"]}}}, ("temperatures", "above 0", "warm")),
        ({"tasks": {"countdown": {"temperatures": [1.0, 1.0]}}}, ("temperatures", "only once")),
        ({"tasks": {"countdown": {"methods": ["siren", "sirene"]}}}, ("methods", "sirene")),
        ({"tasks": {"countdown": {"prompts_per_batch": 3}}}, ("prompts_per_batch", "3")),
        ({"methods": {"siren": {"siren_cof": 1}}}, ("siren", "siren_cof")),
        ({"methods": {"siren": {"siren_coef": -1}}}, ("siren_coef=-1",)),
        ({"methods": {"siren": {"gradient_accumulation_steps": 3}}}, ("gradient_accumulation_steps", "3")),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_before_anything_starts(changes, words, tmp_path, capsys):
    given = {**GIVEN, "settings": {}, **({"tasks": {"countdown": {}}} if "tasks" not in changes else {}), **changes}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(given))
    assert main(["study", str(file), "--output", str(tmp_path / "out"), "--results", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["[1, 2]", "tasks: [", ""])
def test_a_file_that_is_no_study_is_named(text, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["study", str(tmp_path / "mine.yaml")]) == 2
    assert "mine.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "study").glob("*.yaml")), ids=lambda path: path.stem)
def test_published_studies_are_accepted(file):
    study = read_study(file)
    check(study)
    assert len({(run.task, run.name) for run in study.runs()}) == len(study.runs())


def test_a_missing_pretrained_model_is_said_before_anything_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"tasks": {"sums": {}}, "methods": {"plain": {}}}))
    assert main(["study", str(file)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "'runs/smollm2'" in error and "`python scripts/prepare_smollm2.py`" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml"]
    assert main(["study", str(file), "--dry_run"]) == 0  # hours are told without it
    (tmp_path / "runs" / "smollm2").mkdir(parents=True)
    (tmp_path / "runs" / "smollm2" / "config.json").write_text("{}")
    check_bases(read_study(file))


def test_the_command_that_makes_a_base_exists():
    commands = [task.base_made_by for task in TASKS.values() if "model" in task.warmup]
    assert commands and all((ROOT / command.split()[1]).exists() for command in commands)


def finished(study, run, seconds):
    content = {"plan": run.as_dict(), "seconds": seconds, "evaluations": [], "curves": {}}
    study.result(run).parent.mkdir(parents=True, exist_ok=True)
    study.result(run).write_text(json.dumps(content))
    return Outcome(content)


def test_hours_are_those_of_finished_runs_and_say_where_they_are_not(tmp_path):
    study = study_of(tmp_path, settings={}, tasks={"countdown": {"batches": 100}})
    jobs = jobs_of(study)
    siren = next(job for job in jobs if job.plan.method == "siren")
    assert seconds_per_batch(siren, []) == (1.5, False)
    assert hours_left(jobs, [], 2) == (pytest.approx(4 * 100 * 1.5 / 2 / 3600), False)
    done = [finished(study, run, 100.0 * seconds) for run, seconds in zip(study.runs()[:2], (2, 3), strict=True)]
    jobs = jobs_of(study)
    assert [job.state for job in jobs] == ["waiting", "done", "done", "waiting", "waiting"]
    assert seconds_per_batch(siren, done) == (3.0, True)
    assert hours_left(jobs, done, 1) == (pytest.approx((200 + 300) / 3600), True)


def test_a_result_of_other_settings_is_not_taken_for_this_runs(tmp_path):
    study = study_of(tmp_path)
    finished(study, study.runs()[0], 1.0)
    with pytest.raises(ValueError, match=r"plain-seed0.json is of a run with another batches, evaluate_at"):
        jobs_of(study_of(tmp_path, tasks={"countdown": {"batches": 8, "training": {"learning_rate": 1e-3}}}))
