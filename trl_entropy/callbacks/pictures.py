"""Show the run's pictures as images in the trackers that take them."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback

from ..law.points import law_of_run
from ..plots.curves import group_styles, plot_metric
from ..plots.law_picture import LawLine, plot_law
from ..plots.style import paper_style
from ..reliability.beside_training import beside_training
from ..runlog.groups import group_runs
from ..runlog.records import Run, RunLogError, collect
from .run_log import method_of


logger = logging.getLogger(__name__)

_CURVES = (("entropy", "Mean token entropy", "nats"), ("reward", "Reward", "reward"))


class PictureCallback(TrainerCallback):
    """Log the curves and the entropy law as images, under `figures/`, to TensorBoard, W&B and trackio.

    Scalars need no callback: TRL hands every metric to the trackers, where `siren/entropy` stands in the group `siren`
    of `train`. Only trackers named in `report_to` are used. Drawn on the main process, every `every` optimizer steps
    and at the last one.

    Args:
        trainer: A TRL `GRPOTrainer`.
        every: Optimizer steps between drawings.

    Raises:
        ValueError: If `every` is below 1.

    Example:
        ```python
        trainer.add_callback(PictureCallback(trainer, every=100))
        ```
    """

    def __init__(self, trainer: Any, every: int = 100):
        if every < 1:
            raise ValueError(f"every is {every}: give a whole number of at least 1.")
        self.trainer, self.every = trainer, every
        self._drawn = -1

    def on_log(self, args, state, control, **kwargs):
        """Draw when a log falls on the cadence or ends the run."""
        due = state.global_step % self.every == 0 or state.global_step >= state.max_steps
        if not state.is_world_process_zero or not due or state.global_step == self._drawn:
            return
        self._drawn = state.global_step
        with beside_training("a picture for the trackers"):
            images = draw_pictures(state.log_history, method_of(args), Path(str(args.output_dir)))
            for name, image in images.items():
                self._send(list(args.report_to or ()), f"figures/{name}", image, state.global_step)

    def _send(self, trackers: list[str], name: str, image: np.ndarray, step: int) -> None:
        if "tensorboard" in trackers:
            for callback in self.trainer.callback_handler.callbacks:
                if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
                    callback.tb_writer.add_image(name, image, step, dataformats="HWC")
        if "wandb" in trackers:
            wandb = import_module("wandb")
            wandb.log({name: wandb.Image(image), "train/global_step": step})
        if "trackio" in trackers:
            trackio = import_module("trackio")
            trackio.log({name: trackio.Image(image)}, step=step)


def draw_pictures(history: list[dict[str, Any]], method: str, folder: Path) -> dict[str, np.ndarray]:
    """The pictures of a log history as (height, width, 3) images of bytes; without what was not logged.

    Args:
        history: `state.log_history` of a trainer.
        method: The run's methods, their keys joined by `+`, for the picture's legend.
        folder: The run's folder, whose name is the run's.
    """
    run = Run(folder.name, folder, collect((entry["step"], entry) for entry in history if "step" in entry))
    run.settings["method"] = method
    images: dict[str, np.ndarray] = {}
    with paper_style():
        for key, title, unit in _CURVES:
            figure = plot_metric(group_runs([run]), key, title, unit)
            if figure is not None:
                images[key] = _pixels(figure)
        try:
            law = law_of_run(run)
        except (RunLogError, ValueError, ArithmeticError) as error:
            logger.info(f"No picture of the entropy law: {error}")
        else:
            (style,) = group_styles(group_runs([run]))
            images["law"] = _pixels(plot_law([LawLine(law.entropy, law.reward, law.fit, style, law.forecast)]))
    return images


def _pixels(figure: Any) -> np.ndarray:
    figure.set_dpi(120)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
