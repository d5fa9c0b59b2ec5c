"""Before a run: what a configuration will do, and configurations to start from."""

from typing import TYPE_CHECKING, Any


__all__ = ["read_plan"]

if TYPE_CHECKING:
    from .planned import read_plan


def __getattr__(name: str) -> Any:
    # Imported on first use: a configuration is copied without TRL
    if name == "read_plan":
        from .planned import read_plan

        return read_plan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
