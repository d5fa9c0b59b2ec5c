"""What a method is: its arguments, its state, and the moments of TRL's data flow in which it acts.

A method is one file beside this one and one entry in [`METHODS`][trl_entropy.methods.METHODS]. It describes itself in
class attributes; configuration, checks, command line, documentation, model card and runs take everything from there.

| moment | hook |
|---|---|
| the rewards of a generation batch are known | `group_advantages` |
| once a generation, over all processes | `generated` |
| once a generation, or in micro-batch scope after each forward | `select`, `selection_sums`, `close_selection` |
| when the trainer is built | `clip` |
| after the forward, before TRL reads the advantages | `shape` |
| after TRL's loss | `loss` |
| the end of an optimizer step | `sums`, then `close` |
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

import torch

from ..functional.selection import Scope
from ..metrics import Metric


# Additive numbers by name, and numbers of which a step keeps the largest; scalars on the device
Sums = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Paper:
    """Where a method comes from: title, arXiv id, authors as BibTeX wants them ("A and B", "A and others")."""

    title: str
    id: str
    authors: str = ""

    @property
    def citation(self) -> str:
        """A BibTeX entry."""
        author = [f"    author       = {{{self.authors}}},"] if self.authors else []
        return "\n".join(
            [
                f"@article{{arxiv{self.id.replace('.', '_')},",
                f"    title        = {{{{{self.title}}}}},",
                *author,
                f"    year         = 20{self.id[:2]},",
                f"    eprint       = {{arXiv:{self.id}}},",
                "}",
            ]
        )


class Declared(str):
    """An argument's help, and on it what else is declared: argparse is handed all metadata, and takes help alone."""

    allowed: Callable[[Any], bool]
    wanted: str
    paper: Any


def argument(
    default: Any,
    help: str,
    allowed: Callable[[Any], bool] = lambda value: True,
    wanted: str = "",
    paper: Any = None,
) -> Any:
    """A field of a method's arguments, declared once.

    Args:
        default: what it is when nobody sets it.
        help: one or two sentences, for the command line and the documentation.
        allowed: whether a value may be given.
        wanted: what may be given, for the error and the documentation, such as "a fraction in [0, 1)".
        paper: the paper's value.
    """
    declared = Declared(help)
    declared.allowed, declared.wanted, declared.paper = allowed, wanted, paper
    return field(default=default, metadata={"help": declared})


@dataclass
class NoArguments:
    """Of a method that is not configured through [`EntropyGRPOConfig`][trl_entropy.EntropyGRPOConfig]."""


@dataclass
class NoState:
    """Of a method that remembers nothing from one optimizer step to the next."""


@dataclass
class Group:
    """The rewards of one generation batch of all processes, by prompt: (P, N), P prompts with N completions each.

    Attributes:
        rewards: weighted sum of the reward functions; NaN where a completion has no reward.
        advantages: as TRL, or the methods before, made them; 0 where there is no reward.
        logps: summed log-probabilities of the completions under the generating policy, nats; None unless read.
        lengths: their tokens that count; None like `logps`.
        progress: share of the training that is done, in [0, 1].
    """

    rewards: torch.Tensor
    advantages: torch.Tensor
    logps: torch.Tensor | None = None
    lengths: torch.Tensor | None = None
    progress: float = 0.0

    @property
    def mean_logps(self) -> torch.Tensor:
        """Mean log-probability of a completion's tokens, (P, N), nats; for a method that reads them."""
        assert self.logps is not None and self.lengths is not None, "a method that reads logps says so in `needs`"
        return self.logps / self.lengths.clamp(min=1)


@dataclass
class View:
    """What a selection may look at: (B, T), no gradient.

    Attributes:
        advantages: as TRL, or `group_advantages`, made them.
        mask: bool, the tokens that count.
        informative: bool, those of them whose prompt's rewards are not all equal.
        scored: what the method reads (`reads`, `needs`), by name: `logps` and `entropy` of the generating policy (in
            micro-batch scope of the current one), nats, and the head's channels.
        clipped: bool, tokens whose gradient PPO's clip has removed; None before the first update.
    """

    advantages: torch.Tensor
    mask: torch.Tensor
    informative: torch.Tensor
    scored: Mapping[str, torch.Tensor]
    clipped: torch.Tensor | None = None

    @property
    def logps(self) -> torch.Tensor:
        """Log-probabilities of the sampled tokens, nats."""
        return self.scored["logps"]

    @property
    def entropy(self) -> torch.Tensor:
        """Full entropy of each position, nats."""
        return self.scored["entropy"]


@dataclass
class Micro:
    """One micro-batch inside the loss. (B, T) unless noted; from `logps` on it is filled by the forward.

    Attributes:
        inputs: the batch as TRL reads it.
        mask: bool, the tokens that count.
        advantages: as TRL, or `group_advantages`, made them, before `shape`.
        moved: whether an update lies between these completions' generation and this step.
        informative: bool, tokens of prompts whose rewards are not all equal.
        chosen: by the method's key, what its `select` returned.
        logps: of the policy in training, with gradient, nats.
        old_logps: of the policy that generated, nats.
        entropy: full entropy, with gradient, nats.
        head: the head's channels by name, with gradient.
    """

    inputs: dict[str, Any]
    mask: torch.Tensor
    advantages: torch.Tensor
    informative: torch.Tensor
    moved: bool
    chosen: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    logps: torch.Tensor = field(init=False)
    old_logps: torch.Tensor = field(init=False)
    entropy: torch.Tensor = field(init=False)
    head: Mapping[str, torch.Tensor] = field(default_factory=dict)


class Method:
    """The base of every method. All hooks do nothing here; a method overrides the ones in which it acts.

    Attributes:
        key: prefix of its arguments and logged keys, its name in checkpoints and runs.
        name: for people.
        switch: the argument that turns it on when it is not at its default.
        paper: where it comes from; None for one without a paper.
        summary: what it changes, when to use it, what it costs: three short texts, one row of the documentation.
        metrics: what it logs.
        published: the paper's settings, its own arguments and TRL's.
        authors_code: where the authors' code takes other settings than the paper.
        example: arguments with which it acts on a tiny model.
        coefficient: the argument that a controller scales through `gain`; None if there is none.
        reads: what `select` needs at scoring time, of {"logps", "entropy", "head"}.
        per_token: whether it gives the tokens of one completion different advantages.
        answers: what it answers, where several methods answer the same and exclude each other.
        replaces_advantage: whether `group_advantages` ignores the advantages it is given.
    """

    key: ClassVar[str]
    name: ClassVar[str]
    switch: ClassVar[str] = ""
    paper: ClassVar[Paper | None] = None
    summary: ClassVar[tuple[str, str, str]]
    metrics: ClassVar[tuple[Metric, ...]] = ()
    published: ClassVar[Mapping[str, Any]] = {}
    authors_code: ClassVar[Mapping[str, Any]] = {}
    example: ClassVar[Mapping[str, Any]] = {}
    coefficient: ClassVar[str | None] = None
    reads: ClassVar[frozenset[str]] = frozenset()
    per_token: ClassVar[bool] = False
    replaces_advantage: ClassVar[bool] = False
    answers: ClassVar[str] = ""
    Arguments: ClassVar[type] = NoArguments
    State: ClassVar[type] = NoState

    args: Any  # of the trainer, from `attach` on
    state: Any
    gain: float = 1.0  # what controllers have put on the coefficient

    # --- configuration ---------------------------------------------------------------------------------------------

    @classmethod
    def is_on(cls, args: Any) -> bool:
        """Whether the arguments switch it on."""
        return getattr(args, cls.switch) != defaults(cls.Arguments)[cls.switch]

    @classmethod
    def replaces(cls, args: Any) -> bool:
        """Whether, with these arguments, `group_advantages` ignores the advantages it is given."""
        return cls.replaces_advantage

    @classmethod
    def check(cls, args: Any) -> None:
        """Raise `ValueError` for settings that contradict each other, warn of unusual ones. Called while it is on."""

    def attach(self, args: Any) -> "Method":
        """Take the trainer's arguments; returns itself."""
        self.args, self.state = args, self.State()
        return self

    def resume(self, saved: dict[str, Any] | None, checkpoint: str) -> None:
        """Go on from the state saved in a checkpoint, None when it holds none; unknown entries are ignored."""
        known = {f.name for f in fields(self.State)}
        self.state = self.State(**{name: value for name, value in (saved or {}).items() if name in known})

    # --- what it asks for ------------------------------------------------------------------------------------------

    def head(self) -> Mapping[str, Any]:
        """Channels of the fused head that it reads: `top_p` and `nucleus`, or sets of words by name."""
        return {}

    def needs(self) -> frozenset[str]:
        """What must be scored at the next generation, of {"logps", "entropy", "head"}; nothing costs nothing."""
        selects = type(self).select is not Method.select and self.args.entropy_scope == "batch"
        return self.reads if selects else frozenset()

    # --- the moments -----------------------------------------------------------------------------------------------

    def group_advantages(self, group: Group) -> torch.Tensor:
        """The advantages (P, N) of a generation batch."""
        return group.advantages

    def generated(self, view: View, scope: Scope) -> None:
        """A generation was scored; `view` is this process's part, `scope` all of them."""

    def select(self, view: View, scope: Scope) -> dict[str, torch.Tensor]:
        """Named tensors (B, T) that travel with the batch: selected tokens, weights, thresholds spread over tokens."""
        return {}

    def selection_sums(self, view: View, chosen: Mapping[str, torch.Tensor]) -> tuple[Sums, Sums]:
        """Additive numbers and maxima of this process's part of a selection, for `close_selection`."""
        return {}, {}

    def close_selection(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The logged numbers of a selection, from its totals over the processes."""
        return {}

    def clip(self, low: float, high: float) -> tuple[float, float]:
        """PPO's epsilons."""
        return low, high

    def shape(self, advantages: torch.Tensor, micro: Micro) -> torch.Tensor:
        """The advantages (B, T) that TRL's loss reads. A weight w >= 0 on the policy term is `w * advantages`."""
        return advantages

    def loss(self, micro: Micro) -> torch.Tensor | None:
        """An added loss: (B, T), normalised as TRL normalises its own, or a scalar of this micro-batch."""
        return None

    def sums(self, micro: Micro) -> tuple[Sums, Sums]:
        """Additive numbers and maxima of a micro-batch, for `close`."""
        return {}, {}

    def close(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The logged numbers of a step, from its totals over all processes; updates the state."""
        return {}

    # --- what others ask -------------------------------------------------------------------------------------------

    def marks(self, micro: Micro) -> dict[str, torch.Tensor]:
        """For the token map, by word: bool (B, T) of tokens it acted on, or numbers (B, T)."""
        return {}

    def direction(self) -> int:
        """Which way a larger coefficient pushes entropy: 1 up, -1 down, 0 neither or unknown."""
        return 0

    def numbers(self) -> dict[str, float]:
        """What controllers may aim at, such as an anchor."""
        return {}


def unused_scale(method: type[Method], args: Any) -> None:
    """Warn of a `scale_rewards` that was set, where the method's advantages leave it without effect."""
    if args.scale_rewards != "group":
        warnings.warn(
            f"scale_rewards={args.scale_rewards!r} has no effect: {method.name} has its own scale for the "
            "advantages of a "
            "prompt. Leave scale_rewards out."
        )


def overrides(method: Method | type[Method], hook: str) -> bool:
    """Whether a method acts in a hook."""
    kind = method if isinstance(method, type) else type(method)
    return getattr(kind, hook) is not getattr(Method, hook)


def defaults(arguments: type) -> dict[str, Any]:
    """Names and defaults of a dataclass of arguments."""
    return {f.name: None if f.default is MISSING else f.default for f in fields(arguments)}
