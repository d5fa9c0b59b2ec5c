"""The demo: what plain GRPO does to entropy and pass@16 on a tiny task, and what entropy control changes."""

from typing import TYPE_CHECKING


__all__ = ["DemoSettings", "run_demo"]

if TYPE_CHECKING:
    from .session import run_demo
    from .settings import DemoSettings


def __getattr__(name: str):
    # Imported on first use, so that the reading and the picture of existing results need no torch.
    if name == "run_demo":
        from .session import run_demo

        return run_demo
    if name == "DemoSettings":
        from .settings import DemoSettings

        return DemoSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
