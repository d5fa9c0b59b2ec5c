"""The files of configs/accelerate are understood by the launcher; the sharded ones also run in test_strategies.py."""

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file


FILES = sorted((Path(__file__).parents[2] / "configs" / "accelerate").glob("*.yaml"))
EXPECTED = {
    "single_gpu": ("NO", 1),
    "multi_gpu": ("MULTI_GPU", 8),
    "fsdp2": ("FSDP", 8),
    "zero2": ("DEEPSPEED", 8),
    "zero3": ("DEEPSPEED", 8),
}


def test_every_launch_has_a_file():
    assert {path.stem for path in FILES} == set(EXPECTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_launcher_reads_it_and_it_says_how_to_use_it(path):
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    kind, processes = EXPECTED[path.stem]
    assert (str(config.distributed_type).split(".")[-1], config.num_processes) == (kind, processes)
    assert f"--config_file configs/accelerate/{path.name}" in path.read_text()
    if kind == "DEEPSPEED":
        assert config.deepspeed_config["zero_stage"] == int(path.stem[-1])
    if kind == "FSDP":
        assert yaml.safe_load(path.read_text())["fsdp_config"]["fsdp_version"] == 2
