"""One optimizer step of any method, written again in slow loops and float64."""

from collections.abc import Callable

import torch

from tests import oracle
from tests.conftest import tiny_model
from tests.trainer.rig import fixed_batch, make_trainer, select, step_gradient, with_old_logps


TEMPERATURE = 0.7


class Token:
    """What a method may know of one token: plain numbers."""

    def __init__(self, logits: torch.Tensor, word: int, advantage: float, old_logp: float):
        self.word = word
        self.logp = oracle.log_probability(logits, word).item()
        self.entropy = oracle.entropy_of(logits, list(range(len(logits)))).item()
        self.advantage, self.old_logp = advantage, old_logp


Rows = list[list[Token]]
# The tokens of every sequence to their advantages
Shape = Callable[[Rows], list[list[float]]]
# The tokens of every sequence and their logits to an added loss, summed over tokens
Added = Callable[[Rows, list[list[torch.Tensor]]], torch.Tensor]


def unchanged(rows: Rows) -> list[list[float]]:
    return [[token.advantage for token in row] for row in rows]


def by_prompt(of_group: Callable[[list[float], Rows], list[float]], size: int = 4) -> Shape:
    """Advantages by prompt: from `size` rewards, 1 where the advantage of the rig is positive, and their sequences."""

    def shape(rows: Rows) -> list[list[float]]:
        advantages: list[float] = []
        for first in range(0, len(rows), size):
            group = rows[first : first + size]
            advantages += of_group([float(row[0].advantage > 0) for row in group], group)
        return [[advantage] * len(row) for advantage, row in zip(advantages, rows, strict=True)]

    return shape


def reference_gradient(batch: dict, shape: Shape, added: Added | None = None, parts: int = 1) -> torch.Tensor:
    """Gradient of the token mean (`dapo`) of PPO's clipped loss with the advantages that `shape` gives.

    `parts`: the micro-batches of which each is shaped by itself.
    """
    model = tiny_model().double()
    logits = oracle.forward(model, batch, TEMPERATURE)
    words, old = batch["completion_ids"], batch["old_per_token_logps"]
    tokens = [
        [
            Token(z.detach(), words[b, t].item(), batch["advantages"][b].item(), old[b, t].item())
            for t, z in enumerate(row)
        ]
        for b, row in enumerate(logits)
    ]
    loss, size = torch.zeros((), dtype=torch.float64), len(tokens) // parts
    for first in range(0, len(tokens), size):
        part = slice(first, first + size)
        for row, rows_logits, advantages in zip(tokens[part], logits[part], shape(tokens[part]), strict=True):
            for token, z, advantage in zip(row, rows_logits, advantages, strict=True):
                ratio = torch.exp(oracle.log_probability(z, token.word) - token.old_logp)
                loss = loss + oracle.grpo_token_loss(ratio, advantage, 0.2, 0.2)
        if added:
            loss = loss + added(tokens[part], logits[part])
    (loss / batch["completion_mask"].sum()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]).float()


def assert_gradient(
    arguments,
    dataset,
    shape: Shape = unchanged,
    added: Added | None = None,
    prepare: Callable = lambda method: None,
    splits: tuple[int, ...] = (1, 2, 4),
    **settings,
) -> None:
    """Off-policy, ragged, at a temperature of 0.7: the trainer's gradient is the reference's for every split.

    `prepare` puts the method where a run would have brought it. In micro-batch scope the reference knows of one
    micro-batch at a time, too.
    """
    trainer = make_trainer(arguments(loss_type="dapo", temperature=TEMPERATURE, **settings), dataset)
    (method,) = trainer.methods
    batch = with_old_logps(trainer, fixed_batch())
    scored = select(trainer, batch)
    plain, expected = reference_gradient(batch, unchanged), {}
    for accumulation in splits:
        parts = accumulation if settings.get("entropy_scope") == "micro_batch" else 1
        if parts not in expected:
            expected[parts] = reference_gradient(batch, shape, added, parts)
            assert (plain - expected[parts]).abs().max() > 1e-3, "the method must change the gradient"
        prepare(method)
        found = step_gradient(trainer, scored, accumulation)
        torch.testing.assert_close(found, expected[parts], atol=1e-5, rtol=1e-4)
