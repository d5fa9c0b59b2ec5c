"""One optimizer step is the same step, however its eight sequences are split over micro-batches and processes."""

import pytest

from .jobs import Processes
from .workers import fixed_completions


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(300)]

METHODS = {
    "siren": {
        "siren_coef": 0.5,
        "siren_anchor": 0.6,
        "siren_quantile": 0.5,
        "log_entropy_dynamics": True,
        "log_entropy_dynamics_steps": 1,
    },
    "clip_cov": {"clip_cov_ratio": 0.1, "clip_cov_low": 0.02, "clip_cov_high": 5.0, "num_iterations": 2},
    "kl_cov": {"kl_cov_ratio": 0.1, "kl_cov_coef": 0.2, "num_iterations": 2},
    "siren+kl_cov": {
        "siren_coef": 0.5,
        "kl_cov_ratio": 0.1,
        "kl_cov_coef": 0.1,
        "loss_type": "dapo",
        "num_iterations": 2,
    },
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


def compare(other: dict, one: dict) -> None:
    """Anchor, entropy, statistics and every gradient of two runs agree."""
    assert other["anchor"] == pytest.approx(one["anchor"], abs=1e-5)
    assert other["entropy"] == pytest.approx(one["entropy"], abs=1e-5)
    assert len(other["gradients"]) == len(one["gradients"]) == 3
    for step, (here, there) in enumerate(zip(other["gradients"], one["gradients"], strict=True), 1):
        assert here.keys() == there.keys()
        for name in here:
            difference = (here[name] - there[name]).abs().max().item()
            assert difference < 1e-5, f"step {step}, {name}: {difference:.1e}"
    for here, there in zip(other["figures"], one["figures"], strict=True):
        assert here.keys() == there.keys()
        for key in here:
            expected = there[key] if there[key] is None else pytest.approx(there[key], abs=1e-5, rel=1e-5)
            assert here[key] == expected, key


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
        compare(rank[run], one)
    assert together(results[split], run) == together(results["1x8"], run)


def test_the_methods_act(results):
    """Or the parity above would hold of nothing."""
    by_method = {method: results["1x8"][0][i] for i, method in enumerate(METHODS)}
    for method in ("clip_cov", "kl_cov", "siren+kl_cov"):
        assert all(by_method[method]["selections"]), method
    assert by_method["siren"]["figures"][1]["siren/penalty"] > 0.01
    assert all(abs(step["dynamics/entropy_change"]) > 1e-4 for step in by_method["siren"]["figures"])
    plain = by_method["clip_cov"]["gradients"][1]
    for method in ("siren", "kl_cov"):
        acted = by_method[method]["gradients"][1]
        assert max((acted[n] - plain[n]).abs().max() for n in plain) > 1e-3, method


CUT, SHORT = list(range(3, 15)), [3, 1]  # a completion cut at the limit, and one of a word and <eos>
UNEVEN = {
    "ranks of different lengths": ({"siren_coef": 0.5, "siren_anchor": 0.6}, [SHORT] * 4 + [CUT] * 4),
    "a rank without a valid token": (
        {"siren_coef": 0.5, "siren_anchor": 0.6, "kl_cov_ratio": 0.1, "kl_cov_coef": 0.1, "num_iterations": 2},
        [CUT] * 4 + fixed_completions(4),
    ),
    "Clip-Cov, a rank without a valid token": (
        {"clip_cov_ratio": 0.2, "clip_cov_low": 0.01, "clip_cov_high": 9.0},
        fixed_completions(4) + [CUT] * 4,
    ),
    "nothing selected": ({"clip_cov_ratio": 0.2, "clip_cov_low": 90.0, "clip_cov_high": 99.0}, fixed_completions(8)),
    "everything selected": ({"kl_cov_ratio": 0.99, "kl_cov_coef": 0.01, "num_iterations": 2}, fixed_completions(8)),
    "no valid token anywhere": (
        {"siren_coef": 0.5, "kl_cov_ratio": 0.1, "num_iterations": 2, "log_entropy_details": True},
        [CUT] * 8,
    ),
}


@pytest.fixture(scope="module")
def uneven(processes: Processes, tmp_path_factory) -> dict[str, list[list[dict]]]:
    folder = tmp_path_factory.mktemp("uneven")
    runs = [
        {"arguments": {**method, "mask_truncated_completions": "token" in name}, "completions": completions}
        for name, (method, completions) in UNEVEN.items()
    ]
    return {split: run_split(processes, folder, split, runs) for split in ("1x8", "2x4", "2x2, accumulate 2")}


@pytest.mark.parametrize("case", UNEVEN)
def test_uneven_ranks_are_one_batch(uneven, case):
    run = list(UNEVEN).index(case)
    (one,) = [rank[run] for rank in uneven["1x8"]]
    for split in ("2x4", "2x2, accumulate 2"):
        for rank in uneven[split]:
            compare(rank[run], one)
        assert together(uneven[split], run) == together(uneven["1x8"], run)
    assert all(w.isfinite().all() for w in one["weights"].values())
    if case == "no valid token anywhere":
        assert one["anchor"] is None
        assert not any(one["selections"])
