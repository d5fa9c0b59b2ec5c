"""The methods, one file each. The registration is this tuple, in the order in which they act."""

from typing import Any

from .aent import AEnt
from .base import Group, Method, Micro, Paper, View, argument, overrides
from .clip_cov import ClipCov
from .control import BONUS, CONTROLLERS, Controller, Measured
from .entrocraft import Entrocraft
from .entropy_adv import EntropyAdv
from .kl_cov import KLCov
from .lp_reg import LpReg
from .maxrl import MaxRL
from .pass_at_k import PassAtK
from .pos_reweight import PosReweight
from .quantile_baseline import QuantileBaseline
from .random_clip import RandomClip
from .repo import Repo
from .siren import Siren
from .stare import Stare
from .steer import Steer
from .ucpo import UCPO
from .unlikeliness import Unlikeliness
from .w_reinforce import WReinforce


METHODS: tuple[type[Method], ...] = (
    # the advantages of a prompt
    MaxRL,
    PassAtK,
    QuantileBaseline,
    Unlikeliness,
    WReinforce,
    UCPO,
    # the weight of a token or a sign
    EntropyAdv,
    Repo,
    Steer,
    Stare,
    PosReweight,
    Entrocraft,
    ClipCov,
    RandomClip,
    # terms of the loss
    Siren,
    KLCov,
    LpReg,
    AEnt,
)
"""Every method and control of the package, in the order in which they act."""

ARGUMENTS: tuple[type, ...] = tuple(part.Arguments for part in (*METHODS, *CONTROLLERS))
"""The bases of the configuration: every argument is declared in the file that reads it."""

__all__ = [
    "ARGUMENTS",
    "BONUS",
    "CONTROLLERS",
    "METHODS",
    "Controller",
    "Group",
    "Measured",
    "Method",
    "Micro",
    "Paper",
    "View",
    "argument",
    "coefficients",
    "controllers_on",
    "methods_on",
    "overrides",
]


def methods_on(args: Any) -> tuple[type[Method], ...]:
    """The methods that the arguments switch on."""
    return tuple(method for method in METHODS if method.is_on(args))


def controllers_on(args: Any) -> tuple[type[Controller], ...]:
    """The controllers that the arguments switch on."""
    return tuple(controller for controller in CONTROLLERS if controller.is_on(args))


def coefficients(args: Any, methods: tuple[type[Method] | Method, ...]) -> tuple[str, ...]:
    """What a controller can move in a run with these methods, by the method's key; TRL's bonus by its argument."""
    bonus = args.entropy_coef != 0 and not args.use_adaptive_entropy  # TRL's controller moves its own
    return (*(method.key for method in methods if method.coefficient), *((BONUS,) if bonus else ()))
