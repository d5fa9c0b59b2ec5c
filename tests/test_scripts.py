"""The scripts run as their headers say, report where they are told to, and leave the repository as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"

# script -> its quickest options, a file that it must write, and what that file or the output must say
RUNS = {
    "bench_head.py": (["--quick", "--threads", "1"], "runs/bench/benchmarks.md", "| fused nucleus head |"),
    "bench_step.py": (["--quick", "--threads", "1"], "runs/bench/benchmarks.md", "| loss step | time, s |"),
    "bench_error.py": (["--quick", "--threads", "1"], "runs/bench/benchmarks.md", "| gradient of entropy by weight |"),
    "bench_overhead.py": (["--quick", "--threads", "1"], "runs/bench/law.md", "| dynamics, 64 completions |"),
    "measure_dynamics.py": (["--quick"], "runs/bench/law.md", "| covariance positive |"),
    "long_run.py": (["--quick"], "outputs/long_run/result.json", "| process | steps |"),
    "scaling_table.py": ([], None, "| 1024 | kl_cov, ratio 0.0002 |"),
}


def files() -> dict[Path, int]:
    """What a script might write over or leave behind: paths and times of change."""
    kept = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    inside = [path for folder in ("docs", "scripts") for path in (ROOT / folder).rglob("*")]
    return {path: path.stat().st_mtime_ns for path in [*kept, *inside] if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("script", RUNS)
def test_the_quickest_run(script: str, tmp_path: Path):
    options, report, headline = RUNS[script]
    before = files()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(SCRIPTS / script), *options]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert headline in (done.stdout if script in ("long_run.py", "scaling_table.py") else done.stderr)
    if report is not None:
        assert (tmp_path / report).stat().st_size > 0
    assert files() == before


def test_the_report_goes_where_it_is_told(monkeypatch: pytest.MonkeyPatch):
    """Figures of a quick run must not replace those in the documentation."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import argparse

    import bench_report

    parser = argparse.ArgumentParser()
    bench_report.add_report_options(parser)
    folders = [bench_report.report_folder(parser.parse_args(line.split())) for line in ("", "--quick", "--docs x")]
    assert folders == [ROOT / "docs", Path("runs/bench"), Path("x")]
    assert bench_report.report_folder(parser.parse_args(["--quick", "--docs", "x"])) == Path("x")


def test_a_call_inside_another_one_is_counted_once(monkeypatch: pytest.MonkeyPatch):
    """The outer call takes 7 seconds in all, of which the inner two take 1 and 2."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_overhead

    now = 0.0

    def take(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(bench_overhead.time, "perf_counter", lambda: now)
    clock = bench_overhead.Clock()
    inner = clock.around("inner", take)
    clock.around("outer", lambda: (take(3), inner(1), inner(2), take(1)))()
    assert clock.calls == {"inner": [1.0, 2.0], "outer": [4.0]}
