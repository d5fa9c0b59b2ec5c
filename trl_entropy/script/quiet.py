"""What the libraries say at a command's start that nobody who typed the command can act on."""

import logging
import sys
import warnings


# TRL's default and TRL's own calls; transformers names the same arguments anew
_RENAMED = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated and will be removed in v6"
# Arguments with good defaults, said also where a configuration gives the ones that matter
_DEFAULTS = "The following values were not passed to `accelerate launch`"
# On resuming: of a head that is the embedding, which no checkpoint holds twice
_TIED = "There were missing keys in the checkpoint model loaded: ['lm_head.weight']."


def hush() -> None:
    """Leave those out. For commands, which own their process; a library does not."""
    warnings.filterwarnings("ignore", _RENAMED, FutureWarning)
    _leave_out("accelerate.commands.launch", _DEFAULTS)


def hush_tied_head() -> None:
    """For a model whose head is its embedding."""
    _leave_out("transformers.trainer", _TIED)


def hush_bars() -> None:
    """No bars for reading and writing files where the output is no terminal."""
    if not sys.stderr.isatty():
        import datasets
        from transformers.utils.logging import disable_progress_bar

        datasets.disable_progress_bars()
        disable_progress_bar()


def _leave_out(logger: str, beginning: str) -> None:
    logging.getLogger(logger).addFilter(lambda record: not record.getMessage().startswith(beginning))
