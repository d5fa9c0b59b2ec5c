"""Random clip: how many, among which, uniformly, and the gradient against the reference."""

import pytest
import torch

from tests.methods.reference import assert_gradient, reference_gradient
from tests.trainer.rig import fixed_batch, make_trainer, select, step_gradient, with_old_logps
from trl_entropy import EntropyGRPOConfig
from trl_entropy.functional.selection import Scope
from trl_entropy.methods import View
from trl_entropy.methods.random_clip import RandomClip
from trl_entropy.step.scope import seeded


def draw(arguments, ratio: float, seeds=(0,)) -> list[torch.Tensor]:
    """Six tokens of positive, four of negative advantage, and two that do not count."""
    method = RandomClip()
    method.attach(EntropyGRPOConfig(**arguments(random_clip_ratio=ratio)))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    view = View(torch.tensor([[1.0], [-1.0]]).expand(2, 6), mask, mask, {})
    return [method.select(view, Scope(lambda seed=seed: seeded(seed)))["selected"] for seed in seeds]


def test_the_share_is_of_all_tokens(arguments):
    (selected,) = draw(arguments, 0.2)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    view = View(torch.tensor([[1.0], [-1.0]]).expand(2, 6), mask, mask, {})
    sums, _ = RandomClip().selection_sums(view, {"selected": selected})
    logged = RandomClip().close_selection({name: float(value) for name, value in sums.items()})
    assert logged == {"random_clip/selected_share": 0.2}


@pytest.mark.parametrize(("ratio", "count"), [(0.01, 1), (0.19, 1), (0.2, 2), (0.39, 3), (0.6, 6), (0.99, 6)])
def test_a_share_of_all_tokens_is_taken_among_the_positive_ones(ratio, count, arguments):
    (selected,) = draw(arguments, ratio)
    assert selected.sum() == count
    assert not selected[1].any()


def test_every_candidate_is_as_likely(arguments):
    """600 draws of two of six: each 200 times, with a standard deviation of 11.5."""
    counts = sum(selected[0].int() for selected in draw(arguments, 0.2, range(600)))
    assert counts.sum() == 1200
    assert (counts - 200).abs().max() < 46, counts


def test_the_gradient_is_the_references(arguments, dataset):
    """The draw is taken from the batch; each split has the gradient without these tokens."""
    trainer = make_trainer(arguments(loss_type="dapo", temperature=0.7, random_clip_ratio=0.2), dataset)
    batch = with_old_logps(trainer, fixed_batch())
    scored = select(trainer, batch)
    selected = scored["random_clip/selected"]
    assert selected.sum() == int(0.2 * batch["completion_mask"].sum())
    assert not (selected & ~((batch["advantages"] > 0).unsqueeze(1) & batch["completion_mask"].bool())).any()

    def shape(rows):
        return [[0.0 if selected[b, t] else x.advantage for t, x in enumerate(row)] for b, row in enumerate(rows)]

    expected = reference_gradient(batch, shape)
    for accumulation in (1, 2, 4):
        torch.testing.assert_close(step_gradient(trainer, scored, accumulation), expected, atol=1e-5, rtol=1e-4)


def test_of_everything_positive_nothing_is_left(arguments, dataset):
    def shape(rows):
        return [[min(x.advantage, 0.0) for x in row] for row in rows]

    assert_gradient(arguments, dataset, shape, splits=(2,), random_clip_ratio=0.99)


@pytest.mark.parametrize("ratio", [1.0, -0.1])
def test_refused(ratio, arguments):
    with pytest.raises(ValueError, match=r"random_clip_ratio=.* is not allowed"):
        EntropyGRPOConfig(**arguments(random_clip_ratio=ratio))
