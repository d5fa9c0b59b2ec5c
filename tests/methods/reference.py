"""One optimizer step of any token-weighting method, written again in slow loops and float64."""

from collections.abc import Callable

import torch

from tests import oracle
from tests.conftest import tiny_model
from tests.trainer.rig import fixed_batch, make_trainer, select, step_gradient, with_old_logps


TEMPERATURE = 0.7


class Token:
    """What a method may know of one token: plain numbers."""

    def __init__(self, logits: torch.Tensor, word: int, advantage: float, old_logp: float):
        self.logp = oracle.log_probability(logits, word).item()
        self.entropy = oracle.entropy_of(logits, list(range(len(logits)))).item()
        self.advantage, self.old_logp = advantage, old_logp


# The tokens of every sequence to their advantages
Shape = Callable[[list[list[Token]]], list[list[float]]]


def reference_gradient(batch: dict, shape: Shape, low: float = 0.2, high: float = 0.2) -> torch.Tensor:
    """Gradient of the token mean (`dapo`) of PPO's clipped loss with the advantages that `shape` gives."""
    model = tiny_model().double()
    rows = oracle.forward(model, batch, TEMPERATURE)
    words = batch["completion_ids"]
    tokens = [
        [
            Token(
                z.detach(),
                words[b, t].item(),
                batch["advantages"][b].item(),
                batch["old_per_token_logps"][b, t].item(),
            )
            for t, z in enumerate(row)
        ]
        for b, row in enumerate(rows)
    ]
    advantages, loss = shape(tokens), torch.zeros((), dtype=torch.float64)
    for b, row in enumerate(rows):
        for t, logits in enumerate(row):
            ratio = torch.exp(oracle.log_probability(logits, words[b, t].item()) - tokens[b][t].old_logp)
            loss = loss + oracle.grpo_token_loss(ratio, advantages[b][t], low, high)
    (loss / batch["completion_mask"].sum()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def assert_gradient(arguments, dataset, shape: Shape, shift: float = 0.3, **settings) -> None:
    """Off-policy, ragged, at a temperature of 0.7: the trainer's gradient is the reference's for every split."""
    plain = None
    for accumulation in (1, 2, 4):
        trainer = make_trainer(arguments(loss_type="dapo", temperature=TEMPERATURE, **settings), dataset)
        batch = with_old_logps(trainer, fixed_batch(), shift)
        found = step_gradient(trainer, select(trainer, batch), accumulation)
        expected = reference_gradient(batch, shape).float()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        if plain is None:
            plain = reference_gradient(batch, lambda tokens: [[token.advantage for token in row] for row in tokens])
            assert (plain.float() - expected).abs().max() > 1e-3, "the method must change the gradient"
