"""Every method and controller on two processes is the same as on one, with a prompt that lies on both."""

import pytest
import torch

from trl_entropy.methods import CONTROLLERS, METHODS

from .jobs import Processes
from .workers import fixed_completions


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(600)]

KEYS = [part.key for part in (*METHODS, *CONTROLLERS)]
# processes, sequences a micro-batch, micro-batches: three prompts of four completions, the second cut in two
SPLITS = {"1x12": (1, 12, 1), "2x6": (2, 6, 1), "2x3, accumulate 2": (2, 3, 2)}
CUT = list(range(3, 15))  # a completion without <eos>
BATCHES = {"ragged": fixed_completions(24), "no token on one process": [CUT] * 6 + fixed_completions(6)}


@pytest.fixture(scope="module", params=BATCHES)
def results(request, processes: Processes, tmp_path_factory) -> dict[str, list[dict]]:
    folder, found = tmp_path_factory.mktemp("methods"), {}
    for name, (world, batch, accumulate) in SPLITS.items():
        if accumulate > 1 and request.param != "ragged":
            continue
        arguments = {
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulate,
            "steps_per_generation": accumulate,
            "num_iterations": 2,
            "mask_truncated_completions": "token" in request.param,
        }
        payload = {"folder": str(folder / name), "arguments": arguments, "completions": BATCHES[request.param]}
        found[name] = processes.run("tests.distributed.workers:every_method", world, timeout=400, **payload)
        assert [rank["plain"]["world_size"] for rank in found[name]] == [world] * world
    return found


@pytest.mark.parametrize("split", [name for name in SPLITS if name != "1x12"])
@pytest.mark.parametrize("key", KEYS)
def test_gradients_numbers_states_and_selections(results, key, split):
    if split not in results:
        pytest.skip("once is enough")
    one, ranks = results["1x12"][0][key], [rank[key] for rank in results[split]]
    assert len(one["gradients"]) == 3
    for rank in ranks:
        for step, (here, there) in enumerate(zip(rank["gradients"], one["gradients"], strict=True), 1):
            for name in there:
                size = max(1.0, there[name].abs().max().item())  # Lp-Reg's exponential grows: float32 rounds with it
                difference = (here[name] - there[name]).abs().max().item() / size
                assert difference < 1e-5, f"step {step}, {name}: {difference:.1e}"
        for here, there in zip(rank["figures"], one["figures"], strict=True):
            assert here == {k: v if v is None else pytest.approx(v, abs=1e-5, rel=1e-5) for k, v in there.items()}
        assert rank["states"] == {k: approximately(state) for k, state in one["states"].items()}
        assert rank["states"] == ranks[0]["states"] and rank["gains"] == ranks[0]["gains"]
    chosen = [set().union(*parts) for parts in zip(*(rank["selections"] for rank in ranks), strict=True)]
    assert chosen == one["selections"]


def approximately(state: dict) -> dict:
    """Numbers of a state to rounding, one level of dictionaries included."""
    return {
        k: pytest.approx(v, abs=1e-5) if isinstance(v, float | dict) and not isinstance(v, bool) else v
        for k, v in state.items()
    }


def test_a_method_sees_the_whole_group_of_every_prompt(results):
    """Rewards, advantages and log-probabilities of three prompts of four, in the batch's order, on every process."""
    one = results["1x12"][0]["plain"]["seen"]
    for rank in (rank for ranks in results.values() for rank in ranks):
        seen = rank["plain"]["seen"]
        assert len(seen) == len(one) == 2
        for here, there in zip(seen, one, strict=True):
            for name, values in there.items():
                assert here[name].shape == (3, 4)
                torch.testing.assert_close(here[name], values, atol=1e-5, rtol=0)
    rewards = one[0]["rewards"]
    expected = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(one[0]["advantages"], expected)


@pytest.mark.parametrize("key", [method.key for method in METHODS])
def test_it_acts(results, key):
    """Or the parity above would hold of nothing: three steps and the weights are elsewhere than GRPO's."""
    plain, other = results["1x12"][0]["plain"]["weights"], results["1x12"][0][key]["weights"]
    assert max((other[name] - plain[name]).abs().max() for name in plain) > 1e-5
