"""`scripts/gpu_check.py`: limits hold, results outlive a kill, every stage runs, the wheels are complete."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement


ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "gpu_check.py"
RECORD = "from gpu_results import record; record('first', figure=1.5); "
# Stage tables for `check`, run in a process of its own
FAKE = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from pathlib import Path
from gpu_check import Stage, check
words, limits, out = {{words}}, {{limits}}, Path({{out!r}})
stages = tuple(Stage(f"s{{{{i}}}}", f"Stage {{{{i}}}}", limit, ("-c", code))
               for i, (code, limit) in enumerate(zip(words, limits)))
sys.exit(check(stages, {{minutes}}, out, True, out))
"""


@pytest.fixture
def results():
    spec = importlib.util.spec_from_file_location("gpu_results", SCRIPT.parent / "gpu" / "gpu_results.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(words: list[str], out: Path, limits: list[float] | None = None, minutes: float = 1) -> subprocess.Popen:
    code = FAKE.format(words=words, limits=limits or [30.0] * len(words), out=str(out), minutes=minutes)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_stage_that_hangs_or_fails_costs_only_itself(results, tmp_path: Path):
    pid = tmp_path / "pid"
    grandchild = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(99)"
    hang = (
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {grandchild!r}]); "
        f"open({str(pid)!r}, 'w').write(str(p.pid)); time.sleep(99)"
    )
    words = [RECORD, "raise SystemExit(3)", hang, "from gpu_results import skip; skip('nothing to do')"]
    out = tmp_path / "out"
    assert start(words, out, [30, 30, 4, 30]).wait(60) == 1
    found = results.states(results.read(out))
    assert [stage["state"] for stage in found.values()] == ["passed", "failed (3)", "cut off", "skipped"]
    assert 4 <= found["s2"]["seconds"] < 15
    assert found["s0"]["figures"][0]["figure"] == 1.5
    wait_for(lambda: not psutil.pid_exists(int(pid.read_text())) or _is_zombie(int(pid.read_text())))
    assert (out / "summary.md").read_text() == results.render(out)


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_killed_at_any_stage_all_before_is_readable(results, tmp_path: Path, stage: int):
    words = [RECORD + ("import time; time.sleep(60)" if i == stage else "") for i in range(3)]
    process = start(words, tmp_path)
    try:
        file = tmp_path / "results.jsonl"
        wait_for(lambda: file.exists() and file.read_text().count('"first"') == stage + 1)
        page = (tmp_path / "summary.md").read_text()
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for child in children:
            child.kill()
    with file.open("a") as half:  # a line that the kill tore
        half.write('{"event": "figures", "stage": "s0", "wh')
    expected = ["passed"] * stage + ["not finished"] + ["not reached"] * (2 - stage)
    found = results.states(results.read(tmp_path))
    assert [one["state"] for one in found.values()] == expected
    assert [len(one["figures"]) for one in found.values()] == [1] * (stage + 1) + [0] * (2 - stage)
    rows = re.findall(r"^\| s\d \| Stage \d \| ([a-z ]+) \|", page, re.M)
    assert rows == expected
    shown = subprocess.run([sys.executable, str(SCRIPT), "--show", str(tmp_path)], capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout.count("| first | 1.5 |") == stage + 1


def test_the_whole_time_is_a_limit_too(results, tmp_path: Path):
    assert start(["import time; time.sleep(60)", RECORD], tmp_path, minutes=0.05).wait(60) == 1
    found = results.states(results.read(tmp_path))
    assert [stage["state"] for stage in found.values()] == ["cut off", "not reached"]


def test_results_are_never_mixed(tmp_path: Path):
    (tmp_path / "results.jsonl").write_text("{}\n")
    command = [sys.executable, str(SCRIPT), "--dry-run", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and str(tmp_path) in done.stderr
    assert (tmp_path / "results.jsonl").read_text() == "{}\n"


def test_only_skipped_tests_are_no_pass(results):
    lines = [
        {"event": "plan", "stages": {"a": "A", "b": "B"}},
        {"event": "figures", "stage": "a", "kind": "test skipped"},
        {"event": "figures", "stage": "b", "kind": "test skipped"},
        {"event": "figures", "stage": "b", "kind": "test"},
        *({"event": "end", "stage": name, "state": "passed", "seconds": 1, "cpu": 1} for name in "ab"),
    ]
    assert [stage["state"] for stage in results.states(lines).values()] == ["skipped", "passed"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if "==" in line and not line.startswith("#"))
    return {normal(name): version for name, version in (line.split("==") for line in lines)}


def closure(names: set[str]) -> set[str]:
    """The names and all that they require, by the metadata of what is installed."""
    found, left = set(), {normal(name) for name in names}
    while left:
        found.add(name := left.pop())
        try:
            required = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:  # such as gguf, or a requirement of another platform
            continue
        left |= {normal(r.name) for r in required if r.marker is None or r.marker.evaluate({"extra": ""})} - found
    return found


def test_the_wheels_are_complete_and_of_the_tested_versions():
    """With torch and transformers they are all that training and the tests import."""
    wheels = pinned(ROOT / "scripts" / "gpu" / "wheels.txt")
    given = closure({"torch", "transformers"})
    assert closure(set(wheels)) - given - set(wheels) == set()
    constraints = pinned(ROOT / "constraints.txt")
    other = {name for name, version in wheels.items() if constraints.get(name, version) != version}
    assert other == {"pyarrow"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dry_run_goes_through_every_stage(results, tmp_path: Path):
    """In less than three minutes: of processor time, of which a crowded machine gives less than one a second."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), "--dry-run", "--minutes", "14", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = results.states(results.read(tmp_path))
    bad = {name: stage["state"] for name, stage in found.items() if stage["state"] not in ("passed", "skipped")}
    assert done.returncode == 0 and bad == {}, json.dumps(bad) + (tmp_path / "log.txt").read_text()[-3000:]
    assert {name for name, stage in found.items() if stage["state"] == "skipped"} <= {"install", "vllm", "study"}
    assert sum(stage["cpu"] for stage in found.values()) < 180
    assert len(found["kernels"]["figures"]) > 40
    assert {line["what"] for line in found["train"]["figures"] if "reward_last" in line} == {
        f"{method}, {kind}" for method in ("SIREN", "KL-Cov", "MaxRL") for kind in ("full", "LoRA")
    }
