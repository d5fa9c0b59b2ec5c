"""The seam: the one place that changes what a model's forward returns.

TRL patches the policy with a fused LM head (`add_fused_lm_head`) that scores tokens without building logits. Its
forward does everything around the head: right shifting, soft-capping, logit scale, sharded and partitioned weights,
autocast, the auxiliary loss of mixtures of experts. We keep all of that and exchange only the autograd function in its
middle, for the duration of one forward, by [`~trl_entropy.functional.fused_log_probs`], which measures the nucleus
entropy, and whatever else is asked for, in the same pass.
"""

import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from peft import PeftModel
from transformers import PreTrainedModel
from trl.trainer import utils as trl_utils

from .functional import fused_log_probs
from .functional.head.sets import WordSet
from .functional.nucleus import Nucleus, check_nucleus_arguments


class HeadHandle:
    """Handle on a model whose fused head can measure more than TRL asks of it.

    Inside `with head.measuring():` a call `model(..., labels=labels, fused_lm_head=True)` returns, in `entropy`,
    `1 + len(head.channels)` channels (B, T, C), 0 where the label is -100: the full entropy (nats, with gradient),
    then those that `channels` names. Outside it the model behaves as TRL left it.

    | channel | what | gradient |
    |---|---|---|
    | `nucleus_entropy` | nats | yes |
    | `nucleus_size` | words | no |
    | `NAME_log_mass`, `NAME_entropy` | `log P(S)` and the entropy renormalised on the set of that name | yes |
    | `top_probability`, `second_probability` | the two largest probabilities, if asked for | no |
    """

    def __init__(self, top_p: float, nucleus: Nucleus, sets: Mapping[str, WordSet], top_two: bool):
        check_nucleus_arguments(top_p, nucleus)
        self.top_p = top_p
        self.nucleus: Nucleus = nucleus
        self.sets = dict(sets)
        self.top_two = top_two
        of_sets = [f"{name}_{what}" for name in self.sets for what in ("log_mass", "entropy")]
        of_top = ["top_probability", "second_probability"] if top_two else []
        self.channels = ("nucleus_entropy", "nucleus_size", *of_sets, *of_top)
        self.enabled = self.scoring = False
        self._measured: list[torch.Tensor] = []

    @contextmanager
    def measuring(self, scoring: bool = False) -> Iterator[None]:
        """Take our head in TRL's place; with `scoring`, for log-probability and full entropy alone, (B, T) each.

        A scoring forward gives the log-probabilities of a measuring one to the last bit, at less cost.
        """
        self.enabled, self.scoring = True, scoring
        try:
            yield
        finally:
            self.enabled = self.scoring = False

    def split(self, entropy: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The full entropy (B, T), and the other channels by name; of a scoring forward there are none."""
        if entropy.ndim == 2:
            return entropy, {}
        full, *others = entropy.unbind(-1)
        return full, dict(zip(self.channels, others, strict=True))

    def apply(self, hidden, weight, bias, targets, temperature, chunk_size, softcap, logit_scale, outputs):
        """Stand in for TRL's `_ChunkedLogProbFunction.apply`, in its own order of arguments and results.

        TRL's forward shapes the log-probabilities and the entropy; the channels wait here for [`gather_channels`].
        """
        if set(outputs) != {"log_probs", "entropy"}:
            raise ValueError(f"The head returns log_probs and entropy, but TRL asked for {outputs}.")
        log_probs, entropy, *measured = fused_log_probs(
            hidden,
            weight,
            bias,
            targets,
            temperature,
            1.0 if self.scoring else self.top_p,
            nucleus=self.nucleus,
            logit_scale=logit_scale,
            softcap=softcap,
            gather=trl_utils.maybe_gather_lm_head_ctx,
            return_nucleus_size=True,
            sets=() if self.scoring else tuple(self.sets.values()),
            return_top_two=self.top_two and not self.scoring,
        )
        if self.top_two and not self.scoring:
            measured[-1:] = measured[-1].unbind(-1)
        self._measured = [] if self.scoring else measured
        return log_probs, entropy, None, None, None

    def gather_channels(self, output: trl_utils.FusedCausalLMOutput) -> None:
        """Stack the channels of the forward that gave `output` onto its entropy, shaped as TRL shapes it."""
        if self.scoring:
            return
        mask, entropy = output.label_mask, output.entropy
        measured, self._measured = self._measured, []
        flat = torch.stack([channel.to(entropy.dtype) for channel in measured], dim=-1)
        if len(flat) == mask.numel():
            shaped = flat.view(*mask.shape, -1).masked_fill(~mask.unsqueeze(-1), 0)
        else:  # the head saw the valid positions only
            shaped = flat.new_zeros(*mask.shape, flat.shape[-1]).masked_scatter(mask.unsqueeze(-1), flat)
        output.entropy = torch.cat([entropy.unsqueeze(-1), shaped], dim=-1)


def add_head(
    model: PreTrainedModel,
    top_p: float = 1.0,
    nucleus: Nucleus = "inclusive",
    sets: Mapping[str, WordSet] | None = None,
    top_two: bool = False,
) -> HeadHandle:
    """Let `model`, already patched by TRL's `add_fused_lm_head`, measure on demand what [`HeadHandle`] lists.

    Args:
        model: a causal language model, before it is wrapped for distributed training (with PEFT: its base model).
        top_p: mass of the nucleus, in (0, 1].
        nucleus: "inclusive" or "exclusive", see [`~trl_entropy.functional.nucleus_entropy`].
        sets: further sets of words by name, such as `{"min_p": MinP(0.02)}`.
        top_two: whether to return the two largest probabilities.

    Returns:
        The handle that switches the measurement on.

    Raises:
        ValueError: for arguments out of range, or a model that TRL has not patched.
    """
    if "forward" not in vars(model):
        raise ValueError(
            f"{type(model).__name__} has no fused LM head. Call trl.trainer.utils.add_fused_lm_head on it first "
            "(GRPOTrainer does)."
        )
    head = HeadHandle(top_p, nucleus, sets or {}, top_two)
    fused_forward = model.forward

    # No functools.wraps attributes are lost: `generate` reads the signature through `__wrapped__`
    def forward(self, *args, **kwargs):
        if not (head.enabled and kwargs.get("fused_lm_head")):
            return fused_forward(*args, **kwargs)
        stock = trl_utils._ChunkedLogProbFunction
        trl_utils._ChunkedLogProbFunction = head
        try:
            output = fused_forward(*args, **kwargs)
        finally:
            trl_utils._ChunkedLogProbFunction = stock
        head.gather_channels(output)
        return output

    forward.__wrapped__ = getattr(fused_forward, "__wrapped__", fused_forward)
    model.forward = types.MethodType(forward, model)
    return head


def head_for(model: Any, requests: Iterable[Mapping[str, Any]]) -> HeadHandle | None:
    """The head that measures what several methods ask for; None where they ask for nothing.

    The model is as in [`add_head`], or a PEFT model around it. A request is `top_p` and `nucleus`, `top_two`, or sets
    of words by name.

    Raises:
        ValueError: for two requests that contradict each other.
    """
    wanted: dict[str, Any] = {}
    for request in requests:
        for name, value in request.items():
            if wanted.setdefault(name, value) != value:
                raise ValueError(f"One method asks the head for {name}={value}, another for {wanted[name]}.")
    if not wanted:
        return None
    known = {name: wanted.pop(name) for name in ("top_p", "nucleus", "top_two") if name in wanted}
    base = cast(PeftModel, model).get_base_model() if is_peft_model(model) else model
    return add_head(cast(PreTrainedModel, base), sets=wanted, **known)
