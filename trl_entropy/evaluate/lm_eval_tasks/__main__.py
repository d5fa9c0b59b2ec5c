"""Print the folder to hand to `lm_eval --include_path`."""

from pathlib import Path


print(Path(__file__).parent)
