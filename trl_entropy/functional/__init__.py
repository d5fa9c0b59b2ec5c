"""The math: pure functions of tensors. No configuration, logging, collectives or global random state."""

from .aggregate import aggregate_token_loss, masked_mean, masked_sum, sequence_means
from .covariance import clip_cov_candidates, covariance_moments, select_clip_cov, select_kl_cov, token_covariance
from .head.fused import fused_log_probs
from .nucleus import nucleus_entropy, nucleus_mask
from .peaks import peak_entropy_mask, sequence_quantile
from .penalties import anchored_penalty, kl_cov_penalty


__all__ = [
    "aggregate_token_loss",
    "anchored_penalty",
    "clip_cov_candidates",
    "covariance_moments",
    "fused_log_probs",
    "kl_cov_penalty",
    "masked_mean",
    "masked_sum",
    "nucleus_entropy",
    "nucleus_mask",
    "peak_entropy_mask",
    "select_clip_cov",
    "select_kl_cov",
    "sequence_means",
    "sequence_quantile",
    "token_covariance",
]
