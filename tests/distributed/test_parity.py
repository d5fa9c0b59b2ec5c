"""One optimizer step is the same step, however its eight sequences are split over micro-batches and processes."""

import pytest
import torch

from .jobs import Processes


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(300)]

METHODS = {
    "siren": {"siren_coef": 0.5, "siren_anchor": 0.6, "siren_quantile": 0.5},
    "clip_cov": {"clip_cov_ratio": 0.1, "clip_cov_low": 0.02, "clip_cov_high": 5.0, "num_iterations": 2},
    "kl_cov": {"kl_cov_ratio": 0.1, "kl_cov_coef": 1.0, "num_iterations": 2},
    "siren+kl_cov": {"siren_coef": 0.5, "kl_cov_ratio": 0.1, "loss_type": "dapo", "num_iterations": 2},
}
# name: processes, sequences a micro-batch, micro-batches an optimizer step
SPLITS = {
    "1x8": (1, 8, 1),
    "1x1, accumulate 8": (1, 1, 8),
    "2x4": (2, 4, 1),
    "2x2, accumulate 2": (2, 2, 2),
    "4x2": (4, 2, 1),
}


def run_split(processes: Processes, folder, split: str, runs: list[dict]) -> list[list[dict]]:
    world, batch, accumulate = SPLITS[split]
    sizes = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulate,
        "steps_per_generation": accumulate,
    }
    runs = [{**r, "arguments": {**sizes, **r["arguments"]}} for r in runs]
    ranks = processes.run("tests.distributed.workers:train_many", world, folder=str(folder / split), runs=runs)
    for results in ranks:
        for result in results:
            assert result["world_size"] == world
            assert result["strategy"] == ("DistributedType.MULTI_CPU" if world > 1 else "DistributedType.NO")
    return ranks


def together(ranks: list[list[dict]], run: int) -> list[set]:
    """The selection of every generation, over all processes."""
    parts = [results[run]["selections"] for results in ranks]
    return [set().union(*selections) for selections in zip(*parts, strict=True)]


@pytest.fixture(scope="module")
def results(processes: Processes, tmp_path_factory) -> dict[str, list[list[dict]]]:
    folder = tmp_path_factory.mktemp("parity")
    runs = [{"arguments": method} for method in METHODS.values()]
    return {split: run_split(processes, folder, split, runs) for split in SPLITS}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("split", [s for s in SPLITS if s != "1x8"])
def test_the_split_changes_nothing(results, method, split):
    run = list(METHODS).index(method)
    (one,) = [rank[run] for rank in results["1x8"]]
    for rank in results[split]:
        other = rank[run]
        assert other["anchor"] == pytest.approx(one["anchor"], abs=1e-6)
        assert other["entropy"] == pytest.approx(one["entropy"], abs=1e-6)
        assert len(other["gradients"]) == len(one["gradients"]) == 3
        for here, there in zip(other["gradients"], one["gradients"], strict=True):
            assert here.keys() == there.keys()
            for name in here:
                torch.testing.assert_close(here[name], there[name], atol=1e-5, rtol=1e-4, msg=lambda m, n=name: n + m)
    assert together(results[split], run) == together(results["1x8"], run)
    for here, there in zip(results[split][0][run]["figures"], one["figures"], strict=True):
        assert here.keys() == there.keys()
        assert here == pytest.approx(there, abs=2e-5, rel=2e-4)


def test_the_methods_act(results):
    """Or the parity above would hold of nothing."""
    by_method = {method: results["1x8"][0][i] for i, method in enumerate(METHODS)}
    for method in ("clip_cov", "kl_cov", "siren+kl_cov"):
        assert all(by_method[method]["selections"]), method
    assert by_method["siren"]["figures"][1]["siren/penalty"] > 0.01
    plain = by_method["clip_cov"]["gradients"][1]
    for method in ("siren", "kl_cov"):
        acted = by_method[method]["gradients"][1]
        assert max((acted[n] - plain[n]).abs().max() for n in plain) > 1e-3, method
