"""Unsloth compiles a trainer of its own in place of TRL's, which sets entropies to None: methods would do nothing."""

import warnings
from typing import Any

from .. import TrlEntropyError


# Where TRL's data flow passes, and the methods with it
_SEAMS = ("_compute_loss", "compute_loss", "_get_per_token_logps_and_entropies", "_generate_and_score_completions")
_REMEDY = "Do not import unsloth, and load the model with transformers."


class ForeignEngineError(TrlEntropyError, ValueError):
    """Another engine computes the loss, so that entropy control would have no effect."""


def check_engine(trainer: Any) -> None:
    """Refuse a run whose loss Unsloth computes; warn where only the measurements are lost.

    To be called when `GRPOTrainer.__init__` is done.

    Args:
        trainer: an `EntropyGRPOTrainer` with `args` and `model`.

    Raises:
        ForeignEngineError: when a method, TRL's bonus or its entropy mask is on.
    """
    bases = type(trainer).__mro__
    if not any(_is_unsloth(base) or any(_is_unsloth(vars(base).get(name)) for name in _SEAMS) for base in bases):
        if _is_unsloth(type(getattr(trainer, "model", None))):
            warnings.warn(
                "The model was loaded by Unsloth, whose forward is not tested with TRL's fused head. Compare the "
                "first steps' `entropy` with those of the same model loaded by transformers."
            )
        return
    args = trainer.args
    wanted = [*args.entropy_methods]
    wanted += [name for name in ("entropy_coef", "use_adaptive_entropy", "entropy_guard") if getattr(args, name, None)]
    wanted += ["top_entropy_quantile"] if args.top_entropy_quantile < 1 else []
    if wanted:
        raise ForeignEngineError(
            f"Unsloth computes the loss here, past the place where {', '.join(wanted)} would act: no entropy reaches "
            f"it. {_REMEDY}"
        )
    warnings.warn(f"Unsloth computes the loss here: no entropy is measured or logged. {_REMEDY}")


def _is_unsloth(thing: Any) -> bool:
    """Whether a class or function comes from Unsloth's package or from the modules that it compiles."""
    names = (getattr(thing, "__module__", None), getattr(thing, "__name__", None))
    code = getattr(getattr(thing, "__code__", None), "co_filename", "")
    return any("unsloth" in str(name).lower() for name in (*names, code))
