"""What all processes decide together, because one that stops alone leaves the others waiting."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list


T = TypeVar("T")


def all_true(accelerator: Accelerator, here: bool) -> bool:
    """Whether `here` holds on every process: one number a process."""
    failures = torch.tensor(float(not here), device=accelerator.device)
    return cast(torch.Tensor, accelerator.reduce(failures, reduction="sum")).item() == 0


def by_the_first(accelerator: Accelerator, decide: Callable[[], T]) -> T:
    """What `decide` returns on the main process, on every process; what it raises there is raised on all."""
    answer: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            answer[0] = decide()
        except Exception as error:
            answer[1] = error
    result, error = broadcast_object_list(answer)
    if error is not None:
        raise error
    return result
