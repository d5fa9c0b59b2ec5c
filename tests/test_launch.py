"""What `trl-entropy grpo` hands to accelerate's launcher, and what it says when that cannot start."""

import pytest
from accelerate.commands import launch as accelerates

from trl_entropy import cli
from trl_entropy.script import launch
from trl_entropy.script.arguments import refuse_unknown_arguments
from trl_entropy.script.launch import split_arguments


@pytest.fixture
def launched(monkeypatch) -> list:
    """What the launcher would run, as it understands it, in place of running it."""
    seen: list = []

    def understand(args):
        seen.append(accelerates._validate_launch_command(args)[0])

    monkeypatch.setattr(launch, "launch_command", understand)
    return seen


@pytest.mark.parametrize(
    ("name", "starter", "settings"),
    [
        ("single_gpu", None, {}),
        ("multi_gpu", "multi_gpu", {}),
        ("fsdp2", "use_fsdp", {"fsdp_version": 2}),
        ("zero2", "use_deepspeed", {"zero_stage": 2}),
        ("zero3", "use_deepspeed", {"zero_stage": 3, "zero3_save_16bit_model": True}),
    ],
)
def test_each_documented_launch_is_understood(launched, name, starter, settings):
    assert cli.main(["grpo", "--accelerate_config", name, "--num_processes", "3", "--max_steps", "3"]) == 0
    (args,) = launched
    starters = ("multi_gpu", "use_fsdp", "use_deepspeed")
    assert {s: getattr(args, s) for s in starters} == {s: s == starter for s in starters}
    assert (args.num_processes, args.mixed_precision, args.module) == (3, "bf16", True)
    assert (args.training_script, args.training_script_args) == ("trl_entropy.train", ["--max_steps", "3"])
    assert {key: getattr(args, key) for key in settings} == settings


def test_both_spellings_of_an_argument_are_taken():
    launcher, script = split_arguments(["--num-processes", "2", "--main-process-port=0", "--max-steps", "3"])
    assert launcher == ["--num_processes=2", "--main_process_port=0"]
    assert script == ["--max-steps", "3"]
    refuse_unknown_arguments(["--num-processes", "2"])


def test_an_unquoted_no_in_yaml_is_the_launchers_no(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("mixed_precision: no\nmulti_gpu: no\n")
    assert split_arguments(["--config", str(config)])[0] == ["--mixed_precision=no"]


def test_a_launcher_that_lacks_deepspeed_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(accelerates, "is_deepspeed_available", lambda: False)
    assert cli.main(["grpo", "--accelerate_config", "zero2", "--num_processes", "2"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("trl-entropy: the launcher cannot start: DeepSpeed is not installed")


def test_fewer_processes_than_asked_for_are_a_warning(monkeypatch, recwarn):
    launch.warn_of_missing_processes(1)
    monkeypatch.setenv("TRL_ENTROPY_NUM_PROCESSES", "2")
    launch.warn_of_missing_processes(2)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"num_processes=2 has no effect: 1 process\(es\) were started"):
        launch.warn_of_missing_processes(1)
