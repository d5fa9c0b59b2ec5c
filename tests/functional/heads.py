"""Inputs for the tests of the fused head, and one way to call it and its plain twin."""

import math

import torch

from trl_entropy.functional.head.sets import DropShare, MinP


def head_of(logits: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """A head whose logits are exactly these `(N, V)`: row i of the identity picks column i of the weight."""
    return {
        "hidden": torch.eye(len(logits), dtype=logits.dtype),
        "weight": logits.t().contiguous(),
        "bias": None,
        "targets": torch.zeros(len(logits), dtype=torch.int64),
    }


def random_head(
    n: int, vocab: int, dtype: torch.dtype = torch.float32, *, bias: bool = False, width: int = 16, seed: int = 0
) -> dict[str, torch.Tensor | None]:
    """Rows from flat to peaked, as a language model has them: logits of standard deviation 0.04 to 20."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-2, 0.7, n)[torch.randperm(n, generator=generator)].unsqueeze(1)
    return {
        "hidden": (torch.randn(n, width, generator=generator) * scale).to(dtype),
        "weight": torch.randn(vocab, width, generator=generator).to(dtype),
        "bias": torch.randn(vocab, generator=generator).to(dtype) if bias else None,
        "targets": torch.randint(vocab, (n,), generator=generator),
    }


def run(function, head, *args, weights=(1.0, 0.7, -1.3), **kwargs):
    """Outputs (with nucleus size) and the gradients by hidden, weight and bias of a weighted sum of the outputs."""
    leaves = {k: v.detach().clone().requires_grad_() for k, v in head.items() if k != "targets" and v is not None}
    outputs = function(
        leaves["hidden"],
        leaves["weight"],
        leaves.get("bias"),
        head["targets"],
        *args,
        return_nucleus_size=True,
        **kwargs,
    )
    per_token = torch.linspace(0.5, 1.5, len(head["targets"]), dtype=outputs[0].dtype, device=outputs[0].device)
    sum(w * (per_token * output).sum() for w, output in zip(weights, outputs[:3], strict=True)).backward()
    return outputs, {name: leaf.grad for name, leaf in leaves.items()}


def run_each(function, head, *args, **kwargs):
    """Log-probability, entropy and nucleus entropy, and the gradients of each alone, such as `"entropy by weight"`."""
    leaves = {name: head[name].detach().clone().requires_grad_() for name in ("hidden", "weight")}
    found = {}
    outputs = function(leaves["hidden"], leaves["weight"], head["bias"], head["targets"], *args, **kwargs)
    for name, output in zip(("log_prob", "entropy", "nucleus_entropy"), outputs, strict=False):
        found[name] = output.detach()
        per_token = torch.linspace(0.5, 1.5, len(output), dtype=output.dtype)
        gradients = torch.autograd.grad((per_token * output).sum(), list(leaves.values()), retain_graph=True)
        found |= {f"{name} by {leaf}": gradient for leaf, gradient in zip(leaves, gradients, strict=True)}
    return found


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Size of the difference, relative to that of `b`."""
    difference = (a.double() - b.double()).norm()
    return (difference / b.double().norm().clamp(min=1e-300)).item()


def run_sets(function, head, sets, **kwargs):
    """What is measured on each set, as `"0 entropy"`, and the gradients of each alone, as `"0 entropy by weight"`."""
    leaves = {name: head[name].detach().clone().requires_grad_() for name in ("hidden", "weight")}
    outputs = function(leaves["hidden"], leaves["weight"], head["bias"], head["targets"], sets=sets, **kwargs)[3:]
    names = [f"{at} {what}" for at in range(len(sets)) for what in ("log_mass", "entropy")]
    found = dict(zip(names, outputs, strict=False))
    gradients = {}
    for name, output in found.items():
        per_token = torch.linspace(0.5, 1.5, len(output), dtype=output.dtype)
        of_each = torch.autograd.grad((per_token * output).sum(), list(leaves.values()), retain_graph=True)
        gradients |= {f"{name} by {leaf}": gradient for leaf, gradient in zip(leaves, of_each, strict=True)}
    if kwargs.get("return_top_two"):
        found["top_two"] = outputs[-1]
    return {name: output.detach() for name, output in found.items()}, gradients


def slow_set(z: list[float], one: MinP | DropShare) -> tuple[float, float, list[float], list[float]]:
    """Log mass and entropy of a set in a row of logits, and their gradients by each logit, in loops over the words."""
    total = sum(math.exp(x - max(z)) for x in z)
    p = [math.exp(x - max(z)) / total for x in z]
    if isinstance(one, MinP):
        inside = [v for v in range(len(z)) if z[v] >= max(z) + math.log(one.kappa)]
    else:
        inside = list(range(len(z)))
        for _ in range(math.floor(one.share * len(z))):  # the least probable goes, of equal ones the last
            inside.remove(min(inside, key=lambda v: (z[v], -v)))
    mass = sum(p[v] for v in inside)
    q = [p[v] / mass if v in inside else 0.0 for v in range(len(z))]
    entropy = -sum(x * math.log(x) for x in q if x)
    by_entropy = [-x * (math.log(x) + entropy) if x else 0.0 for x in q]
    return math.log(mass), entropy, [a - b for a, b in zip(q, p, strict=True)], by_entropy
