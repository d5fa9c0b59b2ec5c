"""Training data as `trl-entropy grpo` reads it, for a script of one's own. See `script.data`."""

from ..script.data import ColumnArguments, load_splits, to_prompts


__all__ = ["ColumnArguments", "load_splits", "to_prompts"]
