"""Statistics of one optimizer step, gathered over its micro-batches and all processes."""

from collections import defaultdict
from collections.abc import Mapping
from typing import cast

import torch
from accelerate import Accelerator

from ..functional.precision import wide


class StepWindow:
    """Additive sums and maxima by part and name, held on the device until the step ends: one collective a step.

    Every process must add the same names; what a process has nothing of, it adds as 0 (sums) or -inf (maxima).
    """

    def __init__(self):
        self._sums: dict[tuple[str, str], torch.Tensor] = {}
        self._maxima: dict[tuple[str, str], torch.Tensor] = {}

    def add(
        self, part: str, sums: Mapping[str, torch.Tensor], maxima: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Add scalars to the running sums of a part, and fold scalars into its running maxima."""
        for name, value in sums.items():
            key, value = (part, name), wide(value.detach())
            self._sums[key] = self._sums[key] + value if key in self._sums else value
        for name, value in (maxima or {}).items():
            key, value = (part, name), wide(value.detach())
            self._maxima[key] = torch.maximum(self._maxima[key], value) if key in self._maxima else value

    def close(self, accelerator: Accelerator) -> dict[str, dict[str, float]]:
        """The totals over all processes, as numbers, by part; the window is empty afterwards."""
        totals: defaultdict[str, dict[str, float]] = defaultdict(dict)
        if self._sums:
            reduced = cast(torch.Tensor, accelerator.reduce(torch.stack(list(self._sums.values())), reduction="sum"))
            for (part, name), total in zip(self._sums, reduced.tolist(), strict=True):
                totals[part][name] = total
        if self._maxima:
            gathered = cast(torch.Tensor, accelerator.gather(torch.stack(list(self._maxima.values())).unsqueeze(0)))
            for (part, name), largest in zip(self._maxima, gathered.amax(0).tolist(), strict=True):
                totals[part][name] = largest
        self._sums.clear()
        self._maxima.clear()
        return totals
