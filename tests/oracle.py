"""The methods written again from the papers: full logits, loops over tokens, no speed, and nothing of ours imported.

What the package computes by clever means is held against these.
"""

import math

import torch


def distribution(logits: torch.Tensor) -> list[torch.Tensor]:
    """Probabilities of one position, word by word."""
    top = max(logits.tolist())
    weights = [torch.exp(z - top) for z in logits]
    total = sum(weights)
    return [w / total for w in weights]


def nucleus(logits: torch.Tensor, top_p: float, kind: str = "inclusive") -> list[int]:
    """Words of the nucleus: most probable first, ties by index, until the mass reaches p."""
    values = logits.tolist()
    order = sorted(range(len(values)), key=lambda v: (-values[v], v))
    probabilities = [p.item() for p in distribution(logits.detach().double())]
    if top_p == 1:
        return sorted(order)
    kept, mass = [], 0.0
    for word in order:
        kept.append(word)
        mass += probabilities[word]
        if mass >= top_p:
            break
    if kind == "exclusive" and len(kept) > 1:
        kept.pop()
    return sorted(kept)


def entropy_of(logits: torch.Tensor, words: list[int]) -> torch.Tensor:
    """Entropy of the distribution renormalised on these words."""
    q = distribution(torch.stack([logits[w] for w in words]))
    return -sum(p * torch.log(p) for p in q)


def quantile(values: list[float], q: float) -> float:
    """Linear interpolation between order statistics."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def siren_sequence_means(entropies: list[list[torch.Tensor]], tau: float) -> list[torch.Tensor]:
    """Per sequence with a peak, the mean entropy of its peaks. `entropies` holds valid tokens only."""
    means = []
    for row in entropies:
        if not row:
            continue
        values = [h.item() for h in row]
        threshold = quantile(values, tau)
        kept = [h for h, value in zip(row, values, strict=True) if value > threshold]
        if kept:
            means.append(sum(kept) / len(kept))
    return means


def covariances(logps: list[list[float]], advantages: list[float]) -> list[list[float]]:
    """C_t over the whole batch; `logps` holds valid tokens only, `advantages` one number a sequence."""
    flat = [x for row in logps for x in row]
    spread = [a for row, a in zip(logps, advantages, strict=True) for _ in row]
    mean_logp, mean_advantage = sum(flat) / len(flat), sum(spread) / len(spread)
    return [[(x - mean_logp) * (a - mean_advantage) for x in row] for row, a in zip(logps, advantages, strict=True)]


def largest(covariance: list[list[float]], ratio: float) -> set[tuple[int, int]]:
    """KL-Cov's tokens as (sequence, token) pairs."""
    places = [(b, t) for b, row in enumerate(covariance) for t in range(len(row))]
    count = max(1, math.floor(ratio * len(places) + 1e-9))
    return set(sorted(places, key=lambda p: (-covariance[p[0]][p[1]], p))[:count])


def forward(model, batch: dict, temperature: float) -> list[list[torch.Tensor]]:
    """Logits of every valid completion token, divided by the temperature. One sequence at a time, no padding."""
    rows = []
    for b in range(len(batch["completion_ids"])):
        prompt = batch["prompt_ids"][b][batch["prompt_mask"][b].bool()]
        completion = batch["completion_ids"][b][batch["completion_mask"][b].bool()]
        if len(completion) == 0:
            rows.append([])
            continue
        logits = model(torch.cat([prompt, completion]).unsqueeze(0)).logits[0] / temperature
        rows.append([logits[len(prompt) - 1 + t] for t in range(len(completion))])
    return rows


def log_probability(logits: torch.Tensor, word: int) -> torch.Tensor:
    return torch.log(distribution(logits)[word])


def grpo_token_loss(ratio: torch.Tensor, advantage: float, low: float, high: float) -> torch.Tensor:
    """-min(ratio A, clip(ratio) A)."""
    return -torch.min(ratio * advantage, torch.clamp(ratio, 1 - low, 1 + high) * advantage)
