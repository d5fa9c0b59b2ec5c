"""What `accelerate launch` starts in tests: one rank of a job, described by a JSON file."""

import json
import os
import sys

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

from .jobs import call


def pretend_that_cpus_are_gpus() -> None:
    """Accelerate shards with FSDP2 only on accelerators; without this it trains with DDP, or one process, silently."""

    def backend(self, cpu=False, sagemaker_dp=False, backend=None):
        return "gloo", DistributedType.MULTI_GPU

    def device(self):
        self.device = torch.device("cpu")

    PartialState._prepare_backend = backend
    PartialState.set_device = device


if __name__ == "__main__":
    torch.set_num_threads(1)
    with open(sys.argv[1]) as file:
        job = json.load(file)
    if job["fsdp"]:
        pretend_that_cpus_are_gpus()
    call(job, int(os.environ["RANK"]))
