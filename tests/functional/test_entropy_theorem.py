"""The theorem where it is exact: a tabular softmax, the expected gradient, a step that goes to 0. All in float64."""

import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Categorical

from trl_entropy.functional import token_covariance
from trl_entropy.functional.dynamics import state_covariance


SHARE = torch.tensor([[0.5], [0.3], [0.2]], dtype=torch.float64)  # of the tokens that are in each state
STEPS = (1e-3, 1e-4, 1e-5)


def world(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and values of five actions in three states; the values are centred nowhere."""
    generator = torch.Generator().manual_seed(seed)
    logits, values = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    return logits, values + torch.tensor([[2.0], [-1.0], [0.5]])


def centred(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Advantages: values less their mean under the policy, state by state."""
    return values - (logits.softmax(-1) * values).sum(-1, keepdim=True)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    return Categorical(logits=logits).entropy()


def expected(logits: torch.Tensor, pushed: torch.Tensor) -> torch.Tensor:
    """Mean over the policy's own actions of `state_covariance`: every action once a state, weighted by pi. (S,)."""
    tokens = state_covariance(
        logits.log_softmax(-1), entropy(logits).unsqueeze(-1).expand_as(logits), pushed, torch.ones_like(logits)
    )
    return (logits.softmax(-1) * tokens).sum(-1)


def errors(logits: torch.Tensor, direction: torch.Tensor, covariance: torch.Tensor) -> list[torch.Tensor]:
    """Of every step size: how far realised / predicted is from 1, in each state."""
    start = entropy(logits)
    return [((entropy(logits + eta * direction) - start) / (-eta * covariance) - 1).abs() for eta in STEPS]


def assert_first_order(found: list[torch.Tensor]) -> None:
    """The ratio tends to 1, its error in proportion to the step."""
    assert found[-1].max() < 1e-3
    for wide, narrow in pairwise(found):
        torch.testing.assert_close(wide / narrow, torch.full_like(wide, 10.0), rtol=0.1, atol=0)


@pytest.mark.parametrize("seed", range(3))
def test_a_natural_gradient_step_changes_entropy_by_the_covariance(seed):
    logits, values = world(seed)
    assert_first_order(errors(logits, centred(logits, values), expected(logits, values)))


def test_the_centring_of_the_advantage_does_not_matter_to_it():
    logits, values = world()
    torch.testing.assert_close(expected(logits, values), expected(logits, centred(logits, values)))
    torch.testing.assert_close(expected(logits, values), expected(logits, values - values.mean()))


@pytest.mark.parametrize("seed", range(3))
def test_a_plain_gradient_step_changes_entropy_by_the_covariance_with_pi_times_a(seed):
    """The gradient of the expected value weighs every state by how often it is met and every action by pi."""
    logits, values = world(seed)
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((SHARE * leaf.softmax(-1) * values).sum(), leaf)
    policy = logits.softmax(-1)
    covariance = SHARE.squeeze(-1) * expected(logits, policy * centred(logits, values))
    assert_first_order(errors(logits, gradient, covariance))
    # here it must be the advantage centred under pi: with the bare values the ratio has another limit
    bare = SHARE.squeeze(-1) * expected(logits, policy * values)
    assert errors(logits, gradient, bare)[-1].min() > 0.1


def test_the_mean_over_tokens_is_weighted_by_where_the_tokens_are():
    logits, values = world()
    eta = 1e-6
    realised = (SHARE.squeeze(-1) * (entropy(logits + eta * values) - entropy(logits))).sum()
    tokens = (SHARE.squeeze(-1) * expected(logits, values)).sum()
    torch.testing.assert_close(realised, -eta * tokens, rtol=1e-4, atol=0)


def test_differences_between_states_move_no_entropy_and_can_turn_the_batchs_covariance_round():
    """Two states. The sure state has the better mean: the batch sees a positive covariance."""
    policy = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    values = torch.tensor([[1.0, 2.0], [-1.0, -1.0]], dtype=torch.float64)
    counts = torch.tensor([[9, 1], [5, 5]])
    flat = [v.repeat_interleave(counts.flatten())[None] for v in (policy.log().flatten(), values.flatten())]
    mask = torch.ones_like(flat[0])
    states = entropy(policy.log()).repeat_interleave(10)[None]
    inside = state_covariance(flat[0], states, flat[1], mask).mean()
    batch = token_covariance(*flat, mask).mean()
    realised = (entropy(policy.log() + 1e-6 * values) - entropy(policy.log())).mean() / 1e-6
    # by hand: pi (1 - pi) (log pi - log pi') (A - A') = .09 * 2.1972 * -1 in the first state, 0 in the second
    assert inside.item() == pytest.approx(-0.09 * 2.1972246 / 2)
    torch.testing.assert_close(realised, -inside, rtol=1e-4, atol=0)
    # between the states: a quarter of the differences of the mean logp, -0.3251 and -0.6931, and A, 1.1 and -1
    assert batch.item() == pytest.approx(inside.item() + 0.25 * 0.368064 * 2.1, abs=1e-6)
    assert batch > 0.09  # it would have foretold a fall


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import measure_dynamics

    yield measure_dynamics
    for name in ("measure_dynamics", "bench_report"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("natural", [True, False])
def test_the_table_of_the_documentation_shows_the_convergence(script, natural):
    found = [script.tabular(eta, natural) for eta in STEPS]
    assert_first_order([(change / predicted - 1).abs() for change, predicted in found])


def test_the_scripts_response_is_the_entropys_slope_along_one_sampled_action(script):
    """The logit step `A (e_a - pi)` on the sampled action a; mean over the policy: Cov(log pi, pi A)."""
    logits, values = world()
    prompt = torch.zeros(3 * 5, 1, dtype=torch.long)
    completion = torch.arange(5).repeat(3)[:, None]
    seen = logits.repeat_interleave(5, 0)
    rows = {"prompt_ids": prompt, "completion_ids": completion, "prompt_mask": prompt, "completion_mask": prompt}

    def model(input_ids, attention_mask):
        return SimpleNamespace(logits=torch.stack([seen, seen], 1))

    logp, before, response = (values.squeeze(-1) for values in script.score(model, rows))
    torch.testing.assert_close(logp, logits.log_softmax(-1).flatten())
    torch.testing.assert_close(before, entropy(seen))
    eta, step = 1e-6, torch.eye(5, dtype=torch.float64).repeat(3, 1) - seen.softmax(-1)
    torch.testing.assert_close((entropy(seen + eta * step) - before) / eta, -response, rtol=1e-4, atol=1e-6)
    policy = logits.softmax(-1)
    advantage = centred(logits, values)
    mean = (policy * response.view(3, 5) * advantage).sum(-1)
    torch.testing.assert_close(mean, expected(logits, policy * advantage))
