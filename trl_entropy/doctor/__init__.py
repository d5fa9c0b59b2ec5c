"""What `trl-entropy doctor` says, from Python: `print(render(examine(read_plan("siren.yaml"))))`. See `plan`."""

from ..plan.findings import examine, render
from ..plan.planned import read_plan


__all__ = ["examine", "read_plan", "render"]
