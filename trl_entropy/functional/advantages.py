"""Advantages of a prompt's completions from their rewards: (P, N) in, (P, N) out, pure.

A reward that is NaN is that of a completion nobody could score: it counts in no mean, and its advantage is 0.
"""

import torch


def scored(rewards: torch.Tensor) -> torch.Tensor:
    """Which completions have a reward. (P, N), bool."""
    return ~rewards.isnan()


def group_relative(rewards: torch.Tensor, scale: str, baseline: torch.Tensor | None = None) -> torch.Tensor:
    r"""`A = (r - b) / (std + 1e-4)`: GRPO's advantage, by default about the group's mean, scaled as TRL scales it.

    Args:
        rewards: (P, N), NaN where there is none.
        scale: TRL's `scale_rewards`: "group" and "batch" divide by that standard deviation (n - 1), "none" does not.
        baseline: (P, 1) instead of the mean.

    Returns:
        (P, N).

    >>> group_relative(torch.tensor([[1.0, 0.0, 0.0, 1.0]]), "none")
    tensor([[ 0.5000, -0.5000, -0.5000,  0.5000]])
    """
    baseline = rewards.nanmean(1, keepdim=True) if baseline is None else baseline
    advantages = rewards - baseline
    if scale != "none":
        advantages = advantages / (_std(rewards if scale == "group" else rewards.view(1, -1)) + 1e-4)
    return advantages.nan_to_num(nan=0.0)


def maxrl_advantages(rewards: torch.Tensor) -> torch.Tensor:
    r"""MaxRL (arXiv 2602.02710): `A = (r - rbar) / rbar`, 0 where the group's mean is 0.

    With rewards of 0 and 1 and c of N right, a right answer has `N / c - 1` and a wrong one -1: the rarer a right
    answer, the more it counts. Rewards between 0 and 1 take the same formula, which is ours for them.

    Args:
        rewards: (P, N), not negative.

    >>> maxrl_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    tensor([[ 3., -1., -1., -1.],
            [ 0.,  0.,  0.,  0.]])
    """
    mean = rewards.nanmean(1, keepdim=True)
    return torch.where(mean > 0, (rewards - mean) / mean.clamp(min=1e-6), 0.0).nan_to_num(nan=0.0)


def pass_at_k_advantages(rewards: torch.Tensor, k: int) -> torch.Tensor:
    r"""Pass@k training in its analytic form (arXiv 2508.10751).

    With c of N right, `R = 1 - C(N - c, k) / C(N, k)` is the pass@k of a random k of them and `s = sqrt(R (1 - R))`. A
    right answer has `(1 - R) / s`, a wrong one `(1 - R - C(N - c - 1, k - 1) / C(N - 1, k - 1)) / s`: what it has on
    average over the groups of k that it is in. 0 where s is 0: every group of k is right, or none.

    Args:
        rewards: (P, N), 0 or 1.
        k: in [1, N]; a prompt with fewer than k scored completions has advantage 0.

    >>> pass_at_k_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 2)
    tensor([[ 1.0000, -0.3333, -0.3333, -0.3333]])
    """
    valid = scored(rewards)
    n, right = valid.sum(1, keepdim=True).double(), (rewards == 1).sum(1, keepdim=True).double()
    wrong = n - right
    passes = 1 - _none_of(wrong, n, k)
    spread = (passes * (1 - passes)).sqrt()
    of_right = 1 - passes
    of_wrong = 1 - passes - _none_of(wrong - 1, n - 1, k - 1)
    advantages = torch.where(rewards == 1, of_right, of_wrong) / spread.clamp(min=1e-12)
    return torch.where(valid & (spread > 1e-6) & (n >= k), advantages, 0.0).to(rewards.dtype)


def lower_quantile(rewards: torch.Tensor, quantile: float) -> torch.Tensor:
    """The smallest reward of each prompt with at least that share of its rewards at or below it. (P, 1).

    Args:
        rewards: (P, N), NaN where there is none.
        quantile: in (0, 1).

    >>> lower_quantile(torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]]), 0.4)
    tensor([[0.],
            [1.]])
    """
    count = scored(rewards).sum(1, keepdim=True)
    place = (quantile * count.double() - 1e-9).ceil().long() - 1
    return rewards.sort(1).values.gather(1, place.clamp(min=0))


def unlikely_rewards(rewards: torch.Tensor, mean_logps: torch.Tensor, beta: float) -> torch.Tensor:
    r"""Rewards of right answers times `1 - beta * rank / N`: the probable earn less (arXiv 2506.02355).

    rank is 0 for the least probable completion of the prompt and N - 1 for the most probable, as in the authors' code;
    by the paper's text the most probable loses all of beta, by the code `beta (N - 1) / N`.

    Args:
        rewards: (P, N); a reward of 0 stays 0.
        mean_logps: (P, N), mean log-probability of a completion's tokens, nats.
        beta: in [0, 1].

    >>> unlikely_rewards(torch.tensor([[1.0, 1.0, 0.0, 1.0]]), torch.tensor([[-1.0, -3.0, -2.0, -0.5]]), 0.4)
    tensor([[0.8000, 1.0000, 0.0000, 0.7000]])
    """
    ranks = mean_logps.argsort(dim=1, stable=True).argsort(dim=1)
    return rewards * (1 - beta * ranks / rewards.size(1))


def spread_advantages(advantages: torch.Tensor, mean_logps: torch.Tensor, tau: float) -> torch.Tensor:
    r"""UCPO (arXiv 2605.00365): a prompt's positive advantage, handed from its probable to its rare right answers.

    With n right answers of probabilities `q = softmax(mean logp)` among them, each takes the share
    `(1 - tau) / n + tau (1/q) / sum(1/q)` of their summed advantage, which stays what it was.

    Args:
        advantages: (P, N); the positive ones are redistributed, the others stay.
        mean_logps: (P, N), mean log-probability of a completion's tokens, nats.
        tau: in [0, 1]; 0 changes nothing where all right answers have one advantage.

    >>> spread_advantages(torch.tensor([[1.0, 1.0, -2.0]]), torch.tensor([[0.75, 0.25, 0.1]]).log(), 0.2)
    tensor([[ 0.9000,  1.1000, -2.0000]])
    """
    right = advantages > 0
    log_q = mean_logps.masked_fill(~right, -torch.inf).log_softmax(1)
    inverse = torch.where(right, 1 / log_q.exp().clamp(min=1e-6), 0.0)
    inverse = inverse / inverse.sum(1, keepdim=True).clamp(min=1e-12)
    count = right.sum(1, keepdim=True).clamp(min=1)
    total = (advantages * right).sum(1, keepdim=True)
    return torch.where(right, total * ((1 - tau) / count + tau * inverse), advantages)


def _none_of(wrong: torch.Tensor, n: torch.Tensor, k: int) -> torch.Tensor:
    """`C(wrong, k) / C(n, k)`: that k of n drawn without replacement are all wrong. 1 for k = 0."""
    share = torch.ones_like(n)
    for i in range(k):
        share = share * ((wrong - i).clamp(min=0) / (n - i).clamp(min=1))
    return share


def _std(rewards: torch.Tensor) -> torch.Tensor:
    """Standard deviation (n - 1) of each row over its scored entries, (P, 1)."""
    mean, n = rewards.nanmean(1, keepdim=True), scored(rewards).sum(1, keepdim=True)
    return ((rewards - mean).square().nansum(1, keepdim=True) / (n - 1).clamp(min=1)).sqrt()
