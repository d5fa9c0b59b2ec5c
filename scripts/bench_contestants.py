"""The heads that `bench_head.py` compares: log-probability, entropy and, of some, nucleus entropy of every token.

Two of those on full logits are the published ways to nucleus entropy, written again here from what they do; nothing
else in this repository uses them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from trl_entropy.functional import fused_log_probs


TRL_VOCAB_TILE = 32_768
PUBLISHED_TOP_K = 10_000


@dataclass
class Problem:
    """One head, and tokens from peaked to flat."""

    hidden: torch.Tensor
    weight: torch.Tensor
    targets: torch.Tensor
    top_p: float = 0.8

    @classmethod
    def make(cls, tokens: int, width: int, vocab: int, dtype: torch.dtype, device: str, seed: int = 0) -> "Problem":
        """Logits of standard deviation 1 to 30, log-uniformly: nuclei of one token up to half of the vocabulary."""
        generator = torch.Generator().manual_seed(seed)
        spread = torch.logspace(0, 1.5, tokens)[torch.randperm(tokens, generator=generator)]
        hidden = torch.randn(tokens, width, generator=generator) * spread.unsqueeze(1)
        weight = torch.randn(vocab, width, generator=generator) * width**-0.5
        return cls(
            hidden.to(device, dtype).requires_grad_(),
            weight.to(device, dtype).requires_grad_(),
            torch.randint(vocab, (tokens,), generator=generator).to(device),
        )


Head = Callable[[Problem], tuple[torch.Tensor, ...]]


def trl(problem: Problem) -> tuple[torch.Tensor, ...]:
    """TRL's fused head with its entropy output, as the trainer calls it."""
    return ChunkedLogProbFunction.apply(
        problem.hidden, problem.weight, None, problem.targets, 1.0, TRL_VOCAB_TILE, None, 1.0, ("log_probs", "entropy")
    )[:2]


def fused(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Ours, with nucleus entropy."""
    return fused_log_probs(problem.hidden, problem.weight, None, problem.targets, 1.0, problem.top_p)


def fused_without(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Ours, log-probability and entropy only."""
    return fused_log_probs(problem.hidden, problem.weight, None, problem.targets, 1.0, 1.0)[:2]


def full_logits(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Full logits, log-probability and entropy only: what the two below start from."""
    logits = _logits(problem)
    return _log_prob(logits, problem.targets), _entropy(logits)


def textbook(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Full logits; sort every row, cumulate, mask, renormalise."""
    logits = _logits(problem)
    probabilities = logits.softmax(-1)
    ordered, order = probabilities.detach().sort(dim=-1, descending=True)
    kept = ordered.cumsum(-1) - ordered < problem.top_p
    inside = torch.zeros_like(kept).scatter_(-1, order, kept)
    nucleus = torch.where(inside, probabilities, 0.0)
    nucleus = nucleus / nucleus.sum(-1, keepdim=True)
    nucleus_entropy = -(nucleus * (nucleus + 1e-20).log()).sum(-1)
    return _log_prob(logits, problem.targets), _entropy(logits), nucleus_entropy


def published(problem: Problem) -> tuple[torch.Tensor, ...]:
    """Full logits; as SIREN's code does it: the 10,000 largest, exclusive, one loop to filter and one to scatter."""
    logits = _logits(problem)
    probabilities = logits.softmax(-1)
    largest = logits.topk(PUBLISHED_TOP_K, dim=-1).indices
    cumulated = probabilities.gather(1, largest).cumsum(-1)
    with torch.no_grad():
        _entropy(logits)  # reported, without gradient
    # the cut-off is looked up once for every column, and the largest answer taken
    wanted = torch.full(cumulated.shape, problem.top_p, device=logits.device)
    cut = torch.searchsorted(cumulated.detach(), wanted).amax(-1, keepdim=True)
    kept = torch.arange(PUBLISHED_TOP_K, device=logits.device).expand_as(largest) < cut
    words = [row[row_kept] for row, row_kept in zip(largest, kept, strict=True)]
    inside = torch.zeros_like(logits, dtype=torch.bool)
    for row, row_words in zip(inside, words, strict=True):
        row.scatter_(0, row_words, True)
    nucleus = probabilities * inside.float()
    nucleus = nucleus / (nucleus.sum(-1, keepdim=True) + 1e-12)
    nucleus_entropy = -(nucleus * (nucleus + 1e-12).log()).sum(-1)
    return _log_prob(logits, problem.targets), _entropy(logits), nucleus_entropy


def products(problem: Problem, rows: int = 512) -> None:
    """The floor: the four matrix products that any head without stored logits takes, and nothing else."""
    hidden, weight = problem.hidden.detach(), problem.weight.detach()
    tile = hidden.new_empty(min(rows, len(hidden)), len(weight))
    grad_weight = torch.zeros_like(weight)
    for start in range(0, len(hidden), rows):
        part = hidden[start : start + rows]
        out = tile[: len(part)]
        torch.mm(part, weight.t(), out=out)
        torch.mm(part, weight.t(), out=out)
        torch.mm(out, weight)
        grad_weight.addmm_(out.t(), part)


HEADS: dict[str, Head] = {
    "TRL's head": trl,
    "fused nucleus head": fused,
    "fused, without nucleus": fused_without,
    "full logits, without nucleus": full_logits,
    "full logits, sort (textbook)": textbook,
    "full logits, published SIREN": published,
}


def forward_backward(head: Head, problem: Problem) -> None:
    """One step: every output takes part in the loss."""
    outputs = head(problem)
    scale = torch.linspace(0.5, 1.5, len(problem.targets), device=problem.targets.device)
    loss = sum(factor * (scale * output).sum() for factor, output in zip((-1.0, 0.01, 0.1), outputs, strict=False))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    problem.hidden.grad = problem.weight.grad = None


def _logits(problem: Problem) -> torch.Tensor:
    return (problem.hidden @ problem.weight.t()).float()


def _log_prob(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return logits.gather(1, targets.unsqueeze(1)).squeeze(1) - logits.logsumexp(-1)


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)
