"""docs/library.md: its two examples are run and held against slow loops; the math needs torch alone."""

import math
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean
from types import SimpleNamespace

import pytest
import torch

from tests import oracle


PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
LOOP, VERL = (block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def run(block: str) -> SimpleNamespace:
    """What a block of the page defines."""
    names: dict = {}
    exec(compile(block, "library.md", "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def loop() -> SimpleNamespace:
    return run(LOOP)


def nucleus_entropies(logits: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
    return [[oracle.entropy_of(z, oracle.nucleus(z.detach(), 0.8)) for z in row] for row in logits]


def counted(values: torch.Tensor, mask: torch.Tensor) -> list[list]:
    """The rows of (B, T, ...) without what the mask leaves out."""
    return [[v for v, kept in zip(row, m, strict=True) if kept] for row, m in zip(values, mask.tolist(), strict=True)]


def numbers(rows: list[list[torch.Tensor]]) -> list[list[float]]:
    return [[value.item() for value in row] for row in rows]


def loss_by_hand(logps, old_logps, advantages, entropies, anchor, siren, kl_cov, ratio, covariance_of=None):
    """-A ratio as a token mean, |logp - old| on the largest covariances, and beta (H - anchor)^2."""
    covariance = oracle.covariances(covariance_of or old_logps, advantages)
    chosen = oracle.largest(covariance, ratio)
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for b, row in enumerate(logps):
        for t, logp in enumerate(row):
            total = total - advantages[b] * torch.exp(logp - old_logps[b][t])
            if (b, t) in chosen:
                total = total + kl_cov * (logp - old_logps[b][t]).abs()
            tokens += 1
    means = oracle.siren_sequence_means(entropies, 0.8)
    return total / tokens + siren * (sum(means) / len(means) - anchor) ** 2


def test_the_loops_loss_and_gradient_are_the_oracles(loop):
    torch.manual_seed(3)
    policy = loop.Policy().double()
    torch.nn.init.normal_(policy.head.weight)
    words, mask = loop.sample(policy, 8)
    assert not mask.all()
    advantages = torch.randn(8, 1, dtype=torch.float64)
    with torch.no_grad():
        moved = policy.measure(words)[0] + 0.3 * torch.randn(words.shape, dtype=torch.float64)
    found = loop.objective(policy, words, mask, advantages, moved, anchor=0.4, siren=0.7, kl_cov=0.9)
    gradient = torch.autograd.grad(found, policy.parameters())

    logits = counted(policy.head(policy.hidden(words)), mask)
    logps = [
        [oracle.log_probability(z, word) for z, word in zip(row, spoken, strict=True)]
        for row, spoken in zip(logits, numbers(counted(words, mask)), strict=True)
    ]
    entropies = nucleus_entropies(logits)
    old = numbers(counted(moved, mask))
    expected = loss_by_hand(logps, old, advantages.flatten().tolist(), entropies, 0.4, 0.7, 0.9, 0.02)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    for ours, truth in zip(gradient, torch.autograd.grad(expected, policy.parameters()), strict=True):
        torch.testing.assert_close(ours, truth, atol=1e-8, rtol=1e-7)


def test_what_is_right_and_where_an_answer_ends(loop):
    words = torch.tensor([[1, 2, 3, 4, 0, 1, 1, 1], [1, 2, 3, 0, 4, 5, 6, 7], [1, 2, 3, 4, 4, 0, 0, 0]])
    mask = ((words == 0).cumsum(1) - (words == 0).long()) == 0
    assert mask.sum(1).tolist() == [5, 4, 6]
    assert loop.reward(words, mask).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.slow
def test_the_loops_table_is_what_it_does(loop):
    """The page's figures, with room for the samples that another machine's rounding turns."""
    for name, settings in (("GRPO", {}), ("with SIREN and KL-Cov", {"siren": 1.0, "kl_cov": 1.0})):
        (row,) = re.findall(rf"^\| {name} \| (.*) \|$", PAGE, re.MULTILINE)
        written = [float(cell) for cell in row.split("|")]
        history = loop.train(40, **settings)
        last = [mean(column) for column in zip(*history[-10:], strict=True)]
        assert [history[0][1], last[1], last[0]] == pytest.approx(written, abs=0.1)


@pytest.fixture
def batch() -> SimpleNamespace:
    """Three completions of 3, 2 and 1 tokens over five words; NaN wherever the mask is 0."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])

    def padded(*shape: int) -> torch.Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.masked_fill(mask.view(3, 3, *[1] * (len(shape) - 2)) == 0, math.nan)

    logits = padded(3, 3, 5).requires_grad_()
    logps = logits.log_softmax(-1)[..., 0]
    return SimpleNamespace(
        mask=mask,
        logits=logits,
        logps=logps,
        old=logps.detach() + 0.2 * padded(3, 3),
        advantages=torch.tensor([[1.0], [-1.0], [0.5]], dtype=torch.float64).expand(3, 3),
    )


def test_the_verl_loss_is_the_oracles(batch):
    page = run(VERL)
    from trl_entropy.functional import nucleus_entropy

    page.siren.coef, page.siren.anchor = 0.7, 0.4
    page.siren.entropy = nucleus_entropy(batch.logits, 0.8)
    config = SimpleNamespace(policy_loss=SimpleNamespace(kl_cov_ratio=0.4, ppo_kl_coef=0.9))
    loss, metrics = page.entropy_control(
        old_log_prob=batch.old,
        log_prob=batch.logps,
        advantages=batch.advantages,
        response_mask=batch.mask,
        loss_agg_mode="token-mean",
        config=config,
    )
    (gradient,) = torch.autograd.grad(loss, batch.logits, retain_graph=True)

    logits, logps = counted(batch.logits, batch.mask), counted(batch.logps, batch.mask)
    entropies, old = nucleus_entropies(logits), numbers(counted(batch.old, batch.mask))
    expected = loss_by_hand(logps, old, [1.0, -1.0, 0.5], entropies, 0.4, 0.7, 0.9, 0.4, numbers(logps))
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)  # nucleus_entropy measures in float64 here
    there = batch.mask.bool()
    truth = torch.autograd.grad(expected, batch.logits)[0][there]
    torch.testing.assert_close(gradient[there], truth, atol=1e-6, rtol=1e-6)
    held = oracle.siren_sequence_means(entropies, 0.8)
    assert metrics["actor/siren_entropy"] == pytest.approx((sum(held) / len(held)).item())
    assert metrics["actor/siren_penalty"] == pytest.approx(0.7 * (metrics["actor/siren_entropy"] - 0.4) ** 2)


@pytest.mark.parametrize(
    ("mode", "divisors"),
    [("token-mean", (6, 6, 6)), ("seq-mean-token-mean", (9, 6, 3)), ("seq-mean-token-sum", (3, 3, 3))],
)
def test_verls_ways_to_aggregate_by_hand(mode, divisors):
    """On-policy, ratio 1: -A w for each token, over what the mode divides by."""
    page = run(VERL)
    page.siren.coef, page.siren.anchor = 0.0, 0.0
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    zeros, advantages = torch.zeros(3, 3), torch.tensor([[1.0], [2.0], [4.0]]).expand(3, 3)
    page.siren.entropy = zeros
    config = SimpleNamespace(policy_loss=SimpleNamespace(kl_cov_ratio=0.1, ppo_kl_coef=1.0))
    loss, _ = page.entropy_control(zeros, zeros, advantages, mask, mode, config, torch.full((3, 3), 0.5))
    expected = -sum(a * n * 0.5 / d for a, n, d in zip((1, 2, 4), (3, 2, 1), divisors, strict=True))
    assert loss.item() == pytest.approx(expected)


def test_the_first_call_sets_the_anchor(batch):
    page = run(VERL)
    page.siren.entropy = torch.tensor([[0.2, 0.8, 0.5], [0.1, 0.3, math.nan], [0.4, math.nan, math.nan]])
    config = SimpleNamespace(policy_loss=SimpleNamespace(kl_cov_ratio=0.4, ppo_kl_coef=0.0))
    _, metrics = page.entropy_control(batch.old, batch.old, batch.advantages, batch.mask, config=config)
    assert page.siren.anchor == pytest.approx((0.8 + 0.3) / 2)  # the last has no peak
    assert metrics["actor/siren_penalty"] == 0.0


def test_the_verl_estimator_by_hand():
    """One of three right: 2 and -1; both right: 0; none right: 0. Prompts may lie anywhere in the batch."""
    scores = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0])
    mask = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1], [1, 0], [1, 1]])
    by_token = torch.stack([torch.zeros(6), scores], dim=1)  # as verl has it, at the last token
    index = ["a", "a", "b", "a", "b", "c"]
    advantages, returns = run(VERL).maxrl(by_token, mask, index=index, config=None, gamma=1.0)
    assert advantages.round(decimals=5).tolist() == [[2, 2], [-1, 0], [0, 0], [-1, -1], [0, 0], [0, 0]]
    assert returns is advantages


def test_the_math_needs_torch_alone():
    """Neither of the examples finds TRL, transformers or what comes with them; all public names are there."""
    missing = ("trl", "transformers", "accelerate", "datasets", "peft", "scipy", "matplotlib")
    script = (
        f"import sys\nfor name in {missing}: sys.modules[name] = None\n"
        "import trl_entropy.functional as f\n[getattr(f, name) for name in f.__all__]\n"
        f"exec({LOOP!r}, {{}})\nexec({VERL!r}, {{}})"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
