"""Statistics of one optimizer step, gathered over its micro-batches and all processes."""

from typing import cast

import torch
from accelerate import Accelerator

from ..functional.precision import wide


class StepWindow:
    """Additive sums and maxima by name, held on the device until the step ends: one collective a step, not one a key.

    Every process must add the same names; what a process has nothing of, it adds as 0 (sums) or -inf (maxima).
    """

    def __init__(self):
        self._sums: dict[str, torch.Tensor] = {}
        self._maxima: dict[str, torch.Tensor] = {}

    def add(self, sums: dict[str, torch.Tensor], maxima: dict[str, torch.Tensor] | None = None) -> None:
        """Add scalars to the running sums, and fold scalars into the running maxima."""
        for name, value in sums.items():
            value = wide(value.detach())
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        for name, value in (maxima or {}).items():
            value = wide(value.detach())
            self._maxima[name] = torch.maximum(self._maxima[name], value) if name in self._maxima else value

    def close(self, accelerator: Accelerator) -> dict[str, float]:
        """The totals over all processes, as numbers; the window is empty afterwards."""
        totals: dict[str, float] = {}
        if self._sums:
            reduced = cast(torch.Tensor, accelerator.reduce(torch.stack(list(self._sums.values())), reduction="sum"))
            totals.update(zip(self._sums, reduced.tolist(), strict=True))
        if self._maxima:
            gathered = cast(torch.Tensor, accelerator.gather(torch.stack(list(self._maxima.values())).unsqueeze(0)))
            totals.update(zip(self._maxima, gathered.amax(0).tolist(), strict=True))
        self._sums.clear()
        self._maxima.clear()
        return totals
