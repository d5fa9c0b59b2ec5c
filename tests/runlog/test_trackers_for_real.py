"""What trackio and W&B themselves write while a run trains, both without network: its numbers and its images."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trl_entropy.runlog import Run, RunLogError, read_run


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FIGURES = ["figures/entropy", "figures/law", "figures/reward"]
# Speed at the end of training, which the trainer keeps from trackers or gives them as a summary
SUMMARY = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"}


def trained(tracker: str, tmp_path: Path, **environment: str) -> Run:
    """Train in a process of its own; returns what the run's own folder says of it."""
    pytest.importorskip(tracker, reason=f'{tracker} is not installed: pip install ".[{tracker}]"')
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-m", "tests.runlog.tracked_run", tracker, str(tmp_path / "run")]
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_run(tmp_path / "run")


def check_numbers(found: Run, expected: Run) -> None:
    assert found.problems == []
    timings = {key for key in found.metrics if key.startswith("profiling/")}  # of TRL, for trackers only
    assert timings
    assert set(found.metrics) - timings == set(expected.metrics) - SUMMARY
    assert {"siren/entropy", "entropy", "reward", "eval_reward"} <= set(found.metrics)
    for key in set(found.metrics) - timings:
        assert found.metrics[key].steps == expected.metrics[key].steps, key
        assert found.metrics[key].values == pytest.approx(expected.metrics[key].values), key


def check_images(images: list[Path]) -> None:
    from matplotlib.image import imread

    for path in images:
        pixels = imread(path)
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels)) > 20  # something is on it


def test_trackio(tmp_path):
    expected = trained("trackio", tmp_path, TRACKIO_DIR=str(tmp_path / "trackio"))
    database = tmp_path / "trackio" / "tests.db"
    found = read_run(database)
    assert found.name == "tiny"
    check_numbers(found, expected)
    with sqlite3.connect(database) as connection:
        rows = [(step, json.loads(text)) for step, text in connection.execute("SELECT step, metrics FROM metrics")]
    images = sorted((step, name, row[name]) for step, row in rows for name in row if name.startswith("figures/"))
    assert [(step, name) for step, name, _ in images] == [(step, name) for step in (4, 5) for name in FIGURES]
    check_images([tmp_path / "trackio" / "media" / image["file_path"] for _, _, image in images])


def test_wandb(tmp_path):
    expected = trained("wandb", tmp_path, WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert expected.metrics["siren/entropy"].steps == [1, 2, 3, 4, 5]
    with pytest.raises(RunLogError, match="export its charts as CSV"):
        read_run(file)
    images = sorted(file.parent.glob("files/media/images/figures/*.png"))
    assert ["figures/" + path.name.partition("_")[0] for path in images] == [n for n in FIGURES for _ in (4, 5)]
    check_images(images)
