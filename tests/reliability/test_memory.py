"""Nothing that the trainer makes in a step outlives it."""

from pathlib import Path

import pytest

from tests.distributed.jobs import Processes


@pytest.mark.distributed
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_no_object_and_no_tensor_piles_up(processes: Processes, tmp_path: Path):
    arguments = {
        "siren_coef": 0.3,
        "kl_cov_ratio": 0.02,
        "per_device_train_batch_size": 4,
        "steps_per_generation": 2,
        "max_steps": 90,
        "num_train_epochs": 100,
        "logging_steps": 1000,  # the log history grows, as it should
    }
    ((early, middle, late),) = processes.run(
        "tests.reliability.workers:live_objects", folder=str(tmp_path), arguments=arguments
    )
    # TRL keeps a list of figures until they are logged: some numbers a step, but no tensor
    assert late[1] == middle[1] == early[1]
    assert late[2] < 2 * early[2]
    assert late[0] - middle[0] < 60
