"""TensorBoard's event files, by TensorBoard's own reader."""

from __future__ import annotations

import logging
from pathlib import Path

from .records import Points, Problem, RunLogError, as_step


def read_events(path: Path) -> tuple[Points, list[Problem]]:
    """The scalars of one event file, as (step, {tag: value}), in the order of writing.

    A file that ends inside a record (the writer was killed) gives the records before it.

    Raises:
        RunLogError: If TensorBoard is not installed, the file is empty, or no scalar can be read.
    """
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError as error:
        raise RunLogError(f"{path}: reading TensorBoard's files needs `pip install tensorboard`.") from error
    if not path.stat().st_size:
        raise RunLogError(f"{path}: the file is empty.")
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    points: Points = []
    problems: list[Problem] = []
    try:
        for event in EventFileLoader(str(path)).Load():
            step = as_step(event.step)
            for value in event.summary.value if step is not None else ():
                if value.metadata.plugin_data.plugin_name == "scalars":
                    points.append((step or 0, {value.tag: float(make_ndarray(value.tensor).item())}))
    except Exception as error:  # protobuf's and TensorBoard's own, of which there are many
        text = f"damaged ({type(error).__name__}); {len(points)} scalars read before it"
        problems.append(Problem(path, None, text))
    if not points:
        raise RunLogError(f"{path}: no scalar in this TensorBoard file.")
    return points, problems
