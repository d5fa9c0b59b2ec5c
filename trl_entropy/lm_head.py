"""The seam: the one place that changes what a model's forward returns.

TRL patches the policy with a fused LM head (`add_fused_lm_head`) that scores tokens without building logits. Its
forward does everything around the head: right shifting, soft-capping, logit scale, sharded and partitioned weights,
autocast, the auxiliary loss of mixtures of experts. We keep all of that and exchange only the autograd function in its
middle, for the duration of one forward, by [`~trl_entropy.functional.fused_log_probs`], which measures the nucleus
entropy in the same pass.
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel
from trl.trainer import utils as trl_utils

from .functional import fused_log_probs
from .functional.nucleus import Nucleus, check_nucleus_arguments


class NucleusHead:
    """Handle on a model whose fused head can measure nucleus entropy.

    Inside `with head.measuring():` a call `model(..., labels=labels, fused_lm_head=True)` returns, in `entropy`, three
    channels (B, T, 3): full entropy, nucleus entropy (nats, both with gradient) and nucleus size (words, without).
    Outside it the model behaves as TRL left it.
    """

    def __init__(self, top_p: float, nucleus: Nucleus):
        check_nucleus_arguments(top_p, nucleus)
        self.top_p = top_p
        self.nucleus: Nucleus = nucleus
        self.enabled = False

    @contextmanager
    def measuring(self) -> Iterator[None]:
        self.enabled = True
        try:
            yield
        finally:
            self.enabled = False

    def split(self, entropy: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The channels of an `entropy` (B, T, C): the full entropy, and the others by name, (B, T) each."""
        full, nucleus_entropy, nucleus_size = entropy.unbind(-1)
        return full, {"nucleus_entropy": nucleus_entropy, "nucleus_size": nucleus_size}

    def apply(self, hidden, weight, bias, targets, temperature, chunk_size, softcap, logit_scale, outputs):
        """Stand in for TRL's `_ChunkedLogProbFunction.apply`, in its own order of arguments and results.

        The nucleus entropy and its size travel in the two slots that the trainer does not ask for,
        `log_sum_sq_probs` and `mean_logits`, so that TRL's forward shapes them like every other per-token output.
        """
        if set(outputs) != {"log_probs", "entropy"}:
            raise ValueError(f"The nucleus head returns log_probs and entropy, but TRL asked for {outputs}.")
        log_probs, entropy, nucleus_entropy, size = fused_log_probs(
            hidden,
            weight,
            bias,
            targets,
            temperature,
            self.top_p,
            nucleus=self.nucleus,
            logit_scale=logit_scale,
            softcap=softcap,
            gather=trl_utils.maybe_gather_lm_head_ctx,
            return_nucleus_size=True,
        )
        return log_probs, entropy, nucleus_entropy, size.to(entropy.dtype), None


def add_nucleus_entropy(model: PreTrainedModel, top_p: float, nucleus: Nucleus = "inclusive") -> NucleusHead:
    """Let `model`, already patched by TRL's `add_fused_lm_head`, measure nucleus entropy on demand.

    Args:
        model: a causal language model, before it is wrapped for distributed training (with PEFT: its base model).
        top_p: mass of the nucleus, in (0, 1].
        nucleus: "inclusive" or "exclusive", see [`~trl_entropy.functional.nucleus_entropy`].

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
    head = NucleusHead(top_p, nucleus)
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
        output.entropy = torch.stack([output.entropy, output.log_sum_sq_probs, output.mean_logits], dim=-1)
        output.log_sum_sq_probs = output.mean_logits = None
        return output

    forward.__wrapped__ = getattr(fused_forward, "__wrapped__", fused_forward)
    model.forward = types.MethodType(forward, model)
    return head
