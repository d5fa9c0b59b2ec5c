"""The settings of the papers, in one place: what `init` writes and what `doctor` compares with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..config import EntropyGRPOConfig  # `trl-entropy init` need not wait for torch and TRL


_SIREN_PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "loss_type": "dr_grpo",
        "scale_rewards": "none",
        "epsilon": 0.2,
        "beta": 0.0,
        "temperature": 1.0,
        "num_generations": 8,
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "weight_decay": 0.1,
        "max_completion_length": 3072,
        "generation_batch_size": 1024,
        "optimizer steps a rollout": 16,
    }
)
_COVARIANCE_PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "loss_type": "dapo",
        "scale_rewards": "group",
        "beta": 0.0,
        "temperature": 1.0,
        "num_generations": 8,
        "learning_rate": 5e-7,
        "max_completion_length": 8192,
        "generation_batch_size": 2048,
        "optimizer steps a rollout": 8,
    }
)
# What a run needs and the covariance methods' paper leaves open
_COVARIANCE_OURS: Mapping[str, Any] = MappingProxyType({"lr_scheduler_type": "constant", "weight_decay": 0.0})
_COVARIANCE_METHODS = ("clip_cov", "kl_cov")
# method -> (source, settings)
PUBLISHED: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "grpo": ("the baseline of SIREN, arXiv 2509.25133", _SIREN_PAPER),
        "naive_bonus": ("the baseline of SIREN, arXiv 2509.25133", {**_SIREN_PAPER, "entropy_coef": 0.001}),
        "siren": (
            "SIREN, arXiv 2509.25133",
            {**_SIREN_PAPER, "siren_coef": 0.005, "siren_top_p": 0.8, "siren_quantile": 0.8},
        ),
        "clip_cov": (
            "Clip-Cov, arXiv 2505.22617",
            {
                **_COVARIANCE_PAPER,
                "epsilon": 1.0,
                "clip_cov_ratio": 2e-4,
                "clip_cov_low": 1.0,
                "clip_cov_high": 5.0,
            },
        ),
        "kl_cov": ("KL-Cov, arXiv 2505.22617", {**_COVARIANCE_PAPER, "kl_cov_ratio": 2e-3, "kl_cov_coef": 1.0}),
    }
)

# What the methods are, beyond their numbers: a run that differs in one of these is not the paper's
DEFINITION: Mapping[str, Any] = MappingProxyType(
    {
        "siren_nucleus": "inclusive",
        "siren_penalty": "two_sided",
        "siren_anchor": None,
        "entropy_scope": "batch",
        "kl_cov_clip": False,
        "epsilon_high": None,
        "delta": None,
        "importance_sampling_level": "token",
        "top_entropy_quantile": 1.0,
        "entropy_coef": 0.0,
        "use_adaptive_entropy": False,
    }
)
# Where the authors' code takes another one
AUTHORS_CODE: Mapping[str, Any] = MappingProxyType({"siren_nucleus": "exclusive", "entropy_scope": "micro_batch"})


def published(method: str, billions: float = 7) -> tuple[str, dict[str, Any]]:
    """Source and settings of a method's paper for a model of that many billion parameters.

    The papers differ by size for the covariance methods alone: 32B takes a learning rate of 1e-6 and, for KL-Cov, a
    ratio of 2e-4. Sizes up to 14B take the 7B settings; [`published_size`] says which.

    Raises:
        ValueError: for an unknown method; it lists the known ones.

    Example:
        >>> published("kl_cov", 32)[1]["kl_cov_ratio"]
        0.0002
    """
    if method not in PUBLISHED:
        raise ValueError(f"{method!r} is not a method; give one of {', '.join(PUBLISHED)}.")
    source, settings = PUBLISHED[method]
    large = {"learning_rate": 1e-6, "kl_cov_ratio": 2e-4} if published_size(method, billions) == 32 else {}
    return source, {name: large.get(name, value) for name, value in settings.items()}


def published_size(method: str, billions: float) -> int:
    """The model size, in billions, whose published settings a model of this size takes: 7 or 32.

    Example:
        >>> published_size("kl_cov", 32), published_size("kl_cov", 14), published_size("siren", 32)
        (32, 7, 7)
    """
    return 32 if method in _COVARIANCE_METHODS and billions > 20 else 7


def ours(method: str) -> dict[str, Any]:
    """Settings of a method's configuration that its paper leaves open, and we chose."""
    return dict(_COVARIANCE_OURS) if method in _COVARIANCE_METHODS else {}


def method_of(args: "EntropyGRPOConfig") -> str:
    """The method's name: `siren`, `clip_cov`, `kl_cov`, `naive_bonus` or `grpo`; of two, SIREN."""
    switches = {"siren": args.siren, "clip_cov": args.clip_cov, "kl_cov": args.kl_cov}
    return next((name for name, on in switches.items() if on), "naive_bonus" if args.entropy_coef else "grpo")
