"""How a run is saved and goes on: from its newest sound checkpoint, as if nothing had happened, or it says why not.

Each checkpoint is sealed ([`checkpoints`]), the folder belongs to one run ([`run_folder`]), and the data goes on where
it stopped ([`data_place`]).
"""

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from datasets import IterableDataset
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from . import checkpoints, run_folder
from .all_processes import all_true, by_the_first
from .beside_training import beside_training, tell_again
from .data_place import DataPlace, split_of, why_inexact
from .log_files import make_room
from .run_folder import RunId


if TYPE_CHECKING:
    from trl import GRPOTrainer as _Base
else:
    _Base = object

logger = logging.getLogger(__name__)


class Resumption(_Base):
    """The trainer's methods that save, and that take up a saved run."""

    _run = RunId()
    _place = DataPlace()  # a new one in each `train`
    _resumed: dict[str, Any] | None = None  # what the seal says of the checkpoint that this run goes on from

    # --- a run and its folder ----------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint=None, *args, **kwargs):
        tell_again()
        with ExitStack() as held:
            by_the_first(self.accelerator, lambda: self._lock_folder(held))
            path = self._sound_checkpoint(resume_from_checkpoint) if resume_from_checkpoint else None
            self._run = by_the_first(self.accelerator, lambda: self._own_folder(path))
            self._resumed = None
            if path:
                self._resumed = checkpoints.sealed_facts(path)
                self._step, self._buffered_inputs = 0, None  # of a `train` that came before
            self._place = DataPlace()
            self.add_callback(self._place)
            try:
                return super().train(path, *args, **kwargs)
            finally:
                self.remove_callback(self._place)

    def _lock_folder(self, held: ExitStack) -> None:
        try:
            held.enter_context(run_folder.locked(str(self.args.output_dir)))
        except OSError as error:
            logger.warning(
                f"{self.args.output_dir} cannot be locked ({error}): nothing keeps a second run from training there."
            )

    def _own_folder(self, path: str | None) -> RunId:
        """The run that begins: its name is written to the folder, and what it finds there is said."""
        folder = str(self.args.output_dir)
        continued = checkpoints.goes_on_as(path, folder) if path else None
        run = continued or run_folder.new_run()
        with beside_training(run_folder.OWNER_FILE):
            run_folder.own(folder, run)
        if path and not continued:
            with beside_training("the logs in the run's folder"):
                make_room(folder, 0)  # resumed from elsewhere: the logs that are here are another run's
        for other, names in checkpoints.others(folder, run).items():
            logger.warning(
                f"{folder} holds checkpoints of {other}, which is not running and not part of {run}: "
                f"{', '.join(names)}. They stay, and resume_from_checkpoint=True passes them over: name one to go on "
                f"from it. One whose name this run needs is moved to {checkpoints.EARLIER}."
            )
        return run

    def _sound_checkpoint(self, wanted: str | bool) -> str:
        """The checkpoint to resume from: the one named, or with `True` the run's newest complete one."""
        run, newest = str(self.args.output_dir), str(wanted).lower() == "true"
        path, flaws = by_the_first(
            self.accelerator, lambda: checkpoints.newest_complete(run) if newest else (str(wanted), {})
        )
        for skipped, problem in flaws.items():
            logger.warning(f"{skipped} is not used: {problem}.")
        if path is None:
            passed = "; ".join(f"{os.path.basename(name)}: {problem}" for name, problem in flaws.items())
            raise checkpoints.IncompleteCheckpointError(
                f"resume_from_checkpoint=True: {run} holds no complete checkpoint of the run that trains there"
                + (f" ({passed})." if passed else ".")
                + " Start without resume_from_checkpoint, or name one."
            )
        # Once a machine, since each may have a disk of its own, and not twice where the choice has read it all
        reads = self.accelerator.is_local_main_process and not (newest and self.accelerator.is_main_process)
        problem = checkpoints.flaw(path, contents=reads)
        if not all_true(self.accelerator, problem is None):
            other, _ = checkpoints.newest_complete(os.path.dirname(os.path.abspath(path)), contents=False)
            raise checkpoints.IncompleteCheckpointError(
                f"{path} cannot be resumed from: {problem or 'another process finds it damaged'}. The newest complete "
                f"checkpoint beside it is {other or 'none'}."
            )
        logger.warning(f"Resuming from {path}.") if flaws else logger.info(f"Resuming from {path}.")
        step = TrainerState.load_from_json(os.path.join(path, TRAINER_STATE_NAME)).global_step
        facts = checkpoints.sealed_facts(path)
        reasons = why_inexact(path, step, facts, self.args, self.accelerator.num_processes)
        reasons += self._lost_in_stream(facts)
        if reasons:
            logger.warning(f"{path}: the run goes on soundly, but not as it would have: {'; '.join(reasons)}.")
        return path

    # --- where it stands in the data ---------------------------------------------------------------------------------

    @property
    def _streams(self) -> bool:
        return isinstance(self.train_dataset, IterableDataset)

    def _lost_in_stream(self, facts: dict[str, Any]) -> list[str]:
        if not self._streams:
            return []
        if "place" not in facts:
            return ["it does not say how often its stream had ended, so that the first pass is taken"]
        if facts["place"]["epoch"] and not hasattr(Trainer, "_init_training_state"):
            return [f"its stream had ended {facts['place']['epoch']} times, and this transformers begins it anew"]
        return []

    def _get_train_sampler(self, *args, **kwargs):
        sampler = super()._get_train_sampler(*args, **kwargs)
        self._place.sampler = sampler
        return sampler

    def _init_training_state(self, *args, **kwargs):
        start = super()._init_training_state(*args, **kwargs)
        place = (self._resumed or {}).get("place")
        if place and self._streams and not self.args.ignore_data_skip:  # a stream has no length to find its epoch by
            start = (place["epoch"], place["batches"])
        if self._streams:
            self._place.in_stream = start
        return start

    # --- saving ------------------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model, trial):
        folder = os.path.join(self._get_output_dir(trial=trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        if self.args.should_save:
            moved = checkpoints.make_way(folder, self._run)
            if moved:
                logger.warning(f"{folder} is another run's: it is now {moved}.")
            checkpoints.unseal(folder, self._run)
        self.accelerator.wait_for_everyone()
        try:
            with checkpoints.rotation_postponed():
                super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if not checkpoints.sealed_facts(folder):  # it is where it was pushed
                self._finish_checkpoint(folder)
        except Exception as error:
            if self.args.should_save:
                raise checkpoints.abandon(folder, error) from error
            raise
        if self.args.should_save:
            keep = (folder, self.state.best_model_checkpoint)
            checkpoints.rotate(os.path.dirname(folder), self._run, self.args.save_total_limit, keep)

    def _finish_checkpoint(self, folder):
        """All processes have written their files."""
        if self.args.should_save:
            place = {"epoch": self._place.epoch, "batches": self._place.batches}
            split = split_of(self.args, self.accelerator.num_processes)
            checkpoints.seal(folder, self._run, place=place, split=split)

    def _push_from_checkpoint(self, checkpoint_folder):
        self.accelerator.wait_for_everyone()
        self._finish_checkpoint(checkpoint_folder)  # what is pushed must be complete, too
        try:
            super()._push_from_checkpoint(checkpoint_folder)
        except Exception as error:  # the checkpoint is complete: no push is worth losing it, or the run
            logger.warning(f"{checkpoint_folder} is saved, but pushing it failed ({type(error).__name__}: {error}).")

    def _finalize_training(self, *args, **kwargs):
        # With a limit of 1 transformers would keep the best checkpoint and delete the newest
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super()._finalize_training(*args, **kwargs)
        finally:
            self.args.save_total_limit = limit
