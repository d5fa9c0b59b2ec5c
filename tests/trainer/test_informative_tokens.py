"""`cov_tokens="informative"`, and the cov/ numbers by hand."""

import pytest
import torch

from tests import oracle
from tests.trainer.rig import fixed_batch, make_trainer, select, with_old_logps
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.clip_cov import ClipCov


def tokens_of(batch: dict, sequences) -> list[list[float]]:
    keep = batch["completion_mask"].bool()
    return [batch["old_per_token_logps"][b][keep[b]].tolist() for b in sequences]


@pytest.mark.parametrize(("tokens", "sequences"), [("all", range(8)), ("informative", range(4, 8))])
def test_a_prompt_of_equal_rewards_counts_for_all_only(tokens, sequences, arguments, dataset):
    """The first prompt's four completions have one reward: they are in neither N, nor the means, nor the choice."""
    trainer = make_trainer(arguments(kl_cov_ratio=0.4, cov_tokens=tokens), dataset)
    batch = with_old_logps(trainer, fixed_batch(), shift=0.0)
    batch["advantages"] = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, -0.5, -0.5, -1.0])
    scored = select(trainer, batch)
    covariance = oracle.covariances(tokens_of(batch, sequences), [batch["advantages"][b].item() for b in sequences])
    expected = {(sequences[b], t) for b, t in oracle.largest(covariance, 0.4)}
    assert set(map(tuple, scored["kl_cov/selected"].nonzero().tolist())) == expected
    for b, row in zip(sequences, covariance, strict=True):
        found = scored["kl_cov/covariance"][b][batch["completion_mask"][b].bool()]
        assert found.tolist() == pytest.approx(row, abs=1e-5)
    flat = [c for row in covariance for c in row]
    assert len(expected) == int(0.4 * len(flat))


def test_the_cov_numbers_by_hand(arguments):
    """Eight tokens count, the last two of a prompt without a gradient; the fourth choice has the advantage 0."""
    args = EntropyGRPOConfig(**arguments(clip_cov_ratio=0.5, cov_tokens="informative"))
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0]], dtype=torch.bool)
    informative = torch.tensor([[1, 1, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    advantages = torch.tensor([[2.0], [-1.0], [0.0]]).expand(3, 3).clone()
    advantages[1, 2] = 0.0
    chosen = {
        "covariance": torch.tensor([[4.0, -1.0, 3.0], [2.0, 2.0, 2.0], [0.0, 0.0, 9.0]]),
        "selected": torch.tensor([[1, 0, 1], [1, 0, 1], [0, 0, 0]], dtype=torch.bool),
    }
    method = ClipCov().attach(args)
    sums, maxima = method.selection_sums(View(advantages, mask, informative, {}), chosen)
    totals = {name: float(value) for name, value in {**sums, **maxima}.items()}
    assert method.close_selection(totals) == {
        "cov/mean": 2.0,  # 12 over 6 informative tokens
        "cov/max": 4.0,
        "cov/informative_share": 0.75,
        "cov/selected_share": 0.5,
        "cov/selected_mean": 2.75,
        "cov/selected_negative_share": 0.25,
    }


def test_clip_cov_draws_as_many_as_the_informative_tokens_ask_for(arguments):
    args = EntropyGRPOConfig(
        **arguments(clip_cov_ratio=0.5, clip_cov_low=-9.0, clip_cov_high=9.0, cov_tokens="informative")
    )
    mask = torch.ones(2, 4, dtype=torch.bool)
    informative = torch.tensor([[True], [False]]).expand(2, 4)
    view = View(torch.tensor([[1.0], [0.0]]).expand(2, 4), mask, informative, {"logps": -torch.ones(2, 4)})
    selected = ClipCov().attach(args).select(view, Scope())["selected"]
    assert selected.sum(1).tolist() == [2, 0]
