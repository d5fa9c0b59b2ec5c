"""FSDP2, ZeRO-2 and ZeRO-3 log what DDP logs and end with its weights, with full fine-tuning and with LoRA.

Two processes on gloo, started by `accelerate launch` with the files of `configs/accelerate/`.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest

from .jobs import Processes, launch


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(400)]

CONFIGS = Path(__file__).parents[2] / "configs" / "accelerate"
TARGET = "tests.distributed.workers:sharded"
METHODS = {
    "siren_coef": 0.5,
    "clip_cov_ratio": 0.1,
    "clip_cov_low": 0.01,
    "clip_cov_high": 9.0,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "steps_per_generation": 2,
    "num_iterations": 2,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch",
    "adam_epsilon": 1e-2,  # so that an update is smooth in a gradient near 0, where the strategies round differently
}
STRATEGIES = {
    "fsdp2": ("DistributedType.FSDP", {"use_cpu": False}),
    "zero2": ("DistributedType.DEEPSPEED", {"use_cpu": False, "ddp_backend": "gloo"}),
    "zero3": ("DistributedType.DEEPSPEED", {"use_cpu": False, "ddp_backend": "gloo"}),
}
needs_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason='DeepSpeed is not installed: pip install ".[deepspeed]"'
)


@pytest.fixture(scope="module")
def ddp(processes: Processes, tmp_path_factory) -> list[dict]:
    ranks = processes.run(TARGET, 2, folder=str(tmp_path_factory.mktemp("ddp")), arguments=METHODS)
    for rank in ranks:
        assert {run["whole"]["strategy"] for run in rank} == {"DistributedType.MULTI_CPU"}
    return ranks[0]


@pytest.mark.parametrize(
    "strategy",
    ["fsdp2", pytest.param("zero2", marks=needs_deepspeed), pytest.param("zero3", marks=needs_deepspeed)],
)
def test_sharded_training_is_that_of_ddp(ddp, tmp_path, strategy):
    kind, arguments = STRATEGIES[strategy]
    config = str(CONFIGS / f"{strategy}.yaml")
    target, arguments = f"{TARGET}_with_a_fault", {**METHODS, **arguments}
    ranks = launch(config, target, tmp_path / "launch", folder=str(tmp_path), arguments=arguments)
    for rank in ranks:
        for run in rank["runs"]:
            assert (run["whole"]["world_size"], run["whole"]["strategy"]) == (2, kind)
        check_fault(rank["fault"], kind)
    for run, expected in zip(ranks[0]["runs"], ddp, strict=True):
        for part, other in ((run["whole"], expected["whole"]), (run["resumed"], expected["resumed"])):
            assert part["anchor"] == pytest.approx(other["anchor"], abs=1e-5)
            assert part["entropy"] == pytest.approx(other["entropy"], abs=1e-5)
            assert part["selections"] == other["selections"]
            assert len(part["figures"]) == 3
            for here, there in zip(part["figures"], other["figures"], strict=True):
                assert here.keys() == there.keys()
                for key in here:
                    same = there[key] if there[key] is None else pytest.approx(there[key], abs=1e-4, rel=1e-4)
                    assert here[key] == same, f"{run['name']}: {key}"
            assert part["weights"].keys() == other["weights"].keys()
            for name, weight in part["weights"].items():
                difference = (weight - other["weights"][name]).abs().max().item()
                assert difference < 1e-4, f"{run['name']}: {name}: {difference:.1e}"


def check_fault(fault: dict, kind: str) -> None:
    """A NaN loss on one process: left out where that is possible, an error on both processes where it is not."""
    assert all(weight.isfinite().all() for weight in fault["weights"].values())
    if kind == "DistributedType.DEEPSPEED":
        assert fault["error"].startswith("NonFiniteError: Step 2: the loss is")
        assert "DeepSpeed updates the weights inside backward" in fault["error"]
    else:
        assert fault["error"] is None
        assert fault["state"]["skipped_updates"] == 1


def test_resuming_gives_the_same_weights_as_going_on(ddp):
    for run in ddp:
        assert run["whole"]["anchor"] == run["resumed"]["anchor"]
        for name, weight in run["whole"]["weights"].items():
            assert (weight - run["resumed"]["weights"][name]).abs().max() < 1e-6, name
