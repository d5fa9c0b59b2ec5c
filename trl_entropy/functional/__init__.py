"""The math: pure functions of tensors. No configuration, logging, collectives or global random state."""

from .advantages import (
    group_relative,
    lower_quantile,
    maxrl_advantages,
    pass_at_k_advantages,
    spread_advantages,
    unlikely_rewards,
)
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
    "group_relative",
    "kl_cov_penalty",
    "lower_quantile",
    "masked_mean",
    "masked_sum",
    "maxrl_advantages",
    "nucleus_entropy",
    "nucleus_mask",
    "pass_at_k_advantages",
    "peak_entropy_mask",
    "select_clip_cov",
    "select_kl_cov",
    "sequence_means",
    "sequence_quantile",
    "spread_advantages",
    "token_covariance",
    "unlikely_rewards",
]
