"""Every method's gradient against the slow reference: off-policy, ragged, accumulated, at a temperature of 0.7."""

import pytest
import torch

from tests import oracle
from tests.conftest import tiny_model
from tests.trainer.rig import fixed_batch, make_trainer, select, siren_stands, step_gradient, with_old_logps


TEMPERATURE = 0.7
ANCHOR, LAST, SHARE = 0.9, 1.3, 0.75
METHODS = {
    "siren": {"siren_coef": 0.7, "siren_top_p": 0.7, "siren_quantile": 0.6},
    "siren_exclusive": {"siren_coef": 0.7, "siren_nucleus": "exclusive"},
    "siren_micro": {"siren_coef": 0.7, "entropy_scope": "micro_batch"},
    "clip_cov": {"clip_cov_ratio": 0.2, "clip_cov_low": 0.05, "clip_cov_high": 3.0},
    "clip_cov_micro": {
        "clip_cov_ratio": 0.2,
        "clip_cov_low": 0.05,
        "clip_cov_high": 3.0,
        "entropy_scope": "micro_batch",
    },
    "kl_cov": {"kl_cov_ratio": 0.2, "kl_cov_coef": 0.8},
    "kl_cov_micro": {"kl_cov_ratio": 0.2, "kl_cov_coef": 0.8, "entropy_scope": "micro_batch"},
    "kl_cov_clip": {"kl_cov_ratio": 0.2, "kl_cov_clip": True},
    "kl_cov_clip_micro": {"kl_cov_ratio": 0.2, "kl_cov_clip": True, "entropy_scope": "micro_batch"},
    "siren_kl_cov": {"siren_coef": 0.7, "kl_cov_ratio": 0.2},
    "siren_clip_cov": {"siren_coef": 0.7, "clip_cov_ratio": 0.2, "clip_cov_low": 0.05},
}


def denominators(loss_type: str, batch: dict, b: int, micro: list[int], accumulation: int) -> float:
    """What one token of sequence b is divided by, over the whole optimizer step."""
    lengths = batch["completion_mask"].sum(1).tolist()
    return {
        "dapo": sum(lengths),
        "dr_grpo": accumulation * len(micro) * 8,
        "grpo": accumulation * len(micro) * max(lengths[b], 1),
        "bnpo": accumulation * sum(lengths[i] for i in micro),
    }[loss_type]


def reference_gradient(settings: dict, loss_type: str, batch: dict, accumulation: int, chosen) -> torch.Tensor:
    """The whole objective from the papers' formulas, in float64. `chosen`: selected (sequence, token) pairs."""
    model = tiny_model().double()
    rows = oracle.forward(model, batch, TEMPERATURE)
    kl_cov, siren = settings.get("kl_cov_ratio"), settings.get("siren_coef")
    low = high = float("inf") if kl_cov and not settings.get("kl_cov_clip") else 0.2
    size = len(rows) // accumulation
    micros = [list(range(i * size, (i + 1) * size)) for i in range(accumulation)]
    loss = torch.zeros((), dtype=torch.float64)
    for micro in micros:
        for b in micro:
            for t, logits in enumerate(rows[b]):
                logp = oracle.log_probability(logits, batch["completion_ids"][b, t].item())
                old = batch["old_per_token_logps"][b, t].double()
                token = oracle.grpo_token_loss(torch.exp(logp - old), batch["advantages"][b].item(), low, high)
                if kl_cov and (b, t) in chosen:
                    token = token + settings.get("kl_cov_coef", 1.0) * torch.abs(logp - old)
                elif (b, t) in chosen:
                    token = token * 0
                loss = loss + token / denominators(loss_type, batch, b, micro, accumulation)
    if siren:
        top_p, tau = settings.get("siren_top_p", 0.8), settings.get("siren_quantile", 0.8)
        kind = settings.get("siren_nucleus", "inclusive")
        entropies = [[oracle.entropy_of(z, oracle.nucleus(z, top_p, kind)) for z in row] for row in rows]
        if settings.get("entropy_scope") == "micro_batch":
            for micro in micros:
                means = oracle.siren_sequence_means([entropies[b] for b in micro], tau)
                loss = loss + siren * (sum(means) / len(means) - ANCHOR) ** 2 / accumulation
        else:
            means = oracle.siren_sequence_means(entropies, tau)
            loss = loss + 2 * siren * (LAST - ANCHOR) * sum(means) / (len(rows) * SHARE)
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def chosen_tokens(settings: dict, batch: dict, accumulation: int, logps: torch.Tensor):
    """The tokens that the method must act on, found by loops; Clip-Cov's draw is taken and checked for membership.

    The rig scores a batch with the weights that the loss has, whatever old log-probabilities it is given.
    """
    size = len(batch["advantages"]) // accumulation
    whole = settings.get("entropy_scope") != "micro_batch"
    parts = [range(len(batch["advantages"]))] if whole else [range(i, i + size) for i in range(0, 8, size)]
    keep = batch["completion_mask"].bool()
    pairs = set()
    for part in parts:
        rows = [logps[b][keep[b]].tolist() for b in part]
        covariance = oracle.covariances(rows, [batch["advantages"][b].item() for b in part])
        if "kl_cov_ratio" in settings:
            pairs |= {(part[b], t) for b, t in oracle.largest(covariance, settings["kl_cov_ratio"])}
    return pairs


@pytest.mark.parametrize("loss_type", ["dapo", "dr_grpo", "grpo", "bnpo"])
@pytest.mark.parametrize("name", METHODS)
def test_gradient_equals_the_reference(name, loss_type, arguments, dataset):
    settings, accumulation = METHODS[name], 2
    trainer = make_trainer(arguments(loss_type=loss_type, temperature=TEMPERATURE, **settings), dataset)
    batch = with_old_logps(trainer, fixed_batch())
    if "siren_coef" in settings:
        siren_stands(trainer, ANCHOR, LAST, SHARE)
    scored = select(trainer, batch)
    drawn = []
    if "clip_cov_ratio" in settings:
        drawn = record_selections(trainer, scored, accumulation)
    found = step_gradient(trainer, scored, accumulation)
    chosen = chosen_tokens(settings, batch, accumulation, trainer_logps(batch))
    chosen |= {(b, t) for mask in drawn for b, t in mask}
    expected = reference_gradient(settings, loss_type, batch, accumulation, chosen).float()
    assert chosen or "siren" in name
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    plain = reference_gradient({}, loss_type, batch, accumulation, set()).float()
    assert (plain - expected).abs().max() > 1e-3, "the method must change the gradient, or the test shows nothing"


def trainer_logps(batch: dict) -> torch.Tensor:
    rows = oracle.forward(tiny_model().double(), batch, TEMPERATURE)
    logps = torch.zeros(batch["completion_ids"].shape, dtype=torch.float64)
    for b, row in enumerate(rows):
        for t, logits in enumerate(row):
            logps[b, t] = oracle.log_probability(logits, batch["completion_ids"][b, t].item()).detach()
    return logps


def record_selections(trainer, scored: dict, accumulation: int) -> list[list[tuple[int, int]]]:
    """Clip-Cov draws at random: take the draw, after checking that it lies in the band and has the right size."""
    drawn: list[list[tuple[int, int]]] = []
    args, mask = trainer.args, scored["completion_mask"].bool()
    if "clip_cov/selected" in scored:
        selected = scored["clip_cov/selected"]
        check_draw(args, selected, trainer_logps(scored), scored["advantages"], mask)
        return [list(map(tuple, selected.nonzero().tolist()))]
    method = next(method for method in trainer.methods if method.key == "clip_cov")
    inner = method.select

    def record(view, scope):
        chosen = inner(view, scope)
        rows = slice(len(drawn) * len(view.mask), (len(drawn) + 1) * len(view.mask))
        ratio = torch.exp(view.logps - scored["old_per_token_logps"][rows])
        sign, selected = scored["advantages"][rows].unsqueeze(1), chosen["selected"]
        clipped = ((ratio > 1.2) & (sign > 0)) | ((ratio < 0.8) & (sign < 0))
        assert not (selected & clipped).any(), "PPO has clipped it already"
        check_draw(args, selected, view.logps, scored["advantages"][rows], view.mask, ~clipped)
        drawn.append([(rows.start + b, t) for b, t in selected.nonzero().tolist()])
        return chosen

    method.select = record
    return drawn


def check_draw(args, selected, logps, advantages, mask, eligible=None) -> None:
    rows = [row[keep].tolist() for row, keep in zip(logps, mask, strict=True)]
    covariance = oracle.covariances(rows, advantages.tolist())
    band = {(b, t) for b, row in enumerate(covariance) for t, c in enumerate(row) if 0.05 < c < args.clip_cov_high}
    if eligible is not None:
        band = {(b, t) for b, t in band if eligible[b, t]}
    chosen = set(map(tuple, selected.nonzero().tolist()))
    assert chosen <= band
    assert len(chosen) == min(len(band), max(1, int(0.2 * mask.sum().item())))


@pytest.mark.parametrize("name", ["siren", "clip_cov", "kl_cov", "siren_kl_cov", "siren_clip_cov"])
@pytest.mark.parametrize("loss_type", ["dapo", "dr_grpo", "grpo"])
def test_batch_scope_does_not_depend_on_the_split(name, loss_type, arguments, dataset):
    """One step over 8 sequences, one of them empty: accumulation 1, 2, 4 and 8 give one gradient and one state."""
    found, states = [], []
    for accumulation in (1, 2, 4, 8):
        trainer = make_trainer(arguments(loss_type=loss_type, **METHODS[name]), dataset)
        batch = with_old_logps(trainer, fixed_batch(empty=3))
        states += [siren_stands(trainer, ANCHOR, LAST, SHARE)] if "siren" in name else []
        found.append(step_gradient(trainer, select(trainer, batch), accumulation))
    for gradient in found[1:]:
        torch.testing.assert_close(gradient, found[0], atol=1e-5, rtol=1e-4)
    for state in states[1:]:
        assert state.entropy == pytest.approx(states[0].entropy, abs=1e-6)
        assert state.counted_share == states[0].counted_share


def test_micro_batch_scope_does_depend_on_the_split(arguments, dataset):
    """The contrast: the authors' scope gives another gradient for another split, hence not the default."""
    found = []
    for accumulation in (1, 4):
        trainer = make_trainer(arguments(loss_type="dr_grpo", **METHODS["siren_micro"]), dataset)
        batch = with_old_logps(trainer, fixed_batch())
        siren_stands(trainer, ANCHOR)
        found.append(step_gradient(trainer, batch, accumulation))
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_siren_leaves_the_initial_policys_first_step_alone(arguments, dataset):
    """The generation measures the anchor; the first two steps' gradients are plain GRPO's: H is on the anchor."""
    plain = make_trainer(arguments(loss_type="dr_grpo"), dataset)
    siren = make_trainer(arguments(loss_type="dr_grpo", siren_coef=5.0), dataset)
    batch = with_old_logps(plain, fixed_batch())
    expected = step_gradient(plain, batch, 2)
    scored, state = select(siren, batch), siren.methods[0].state
    for _ in range(2):
        torch.testing.assert_close(step_gradient(siren, scored, 2), expected, atol=1e-6, rtol=1e-5)
    assert state.anchor == pytest.approx(state.entropy, abs=1e-6) and state.anchor > 0


def test_the_lower_side_acts_only_below_the_anchor(arguments, dataset):
    def gradient(anchor: float, **settings) -> torch.Tensor:
        trainer = make_trainer(arguments(loss_type="dr_grpo", **settings), dataset)
        if settings:
            siren_stands(trainer, anchor, LAST, SHARE)
        return step_gradient(trainer, batch, 2)

    batch = with_old_logps(make_trainer(arguments(), dataset), fixed_batch())
    lower, both = {"siren_coef": 0.7, "siren_penalty": "lower"}, {"siren_coef": 0.7}
    above, below = LAST - 0.4, LAST + 0.4
    torch.testing.assert_close(gradient(above, **lower), gradient(above), atol=1e-6, rtol=1e-5)
    assert (gradient(above, **both) - gradient(above)).abs().max() > 1e-3
    torch.testing.assert_close(gradient(below, **lower), gradient(below, **both), atol=0, rtol=0)
    assert (gradient(below, **lower) - gradient(below)).abs().max() > 1e-3


@pytest.mark.parametrize("scope", ["batch", "micro_batch"])
def test_what_the_guard_lowers_is_the_gradient(scope, arguments, dataset):
    """A coefficient that the guard has halved twice trains as a quarter of it does."""

    def gradient(coef: float, scale: float) -> torch.Tensor:
        trainer = make_trainer(arguments(loss_type="dr_grpo", siren_coef=coef, entropy_scope=scope), dataset)
        siren_stands(trainer, ANCHOR, LAST, SHARE)
        trainer.methods[0].gain = scale
        return step_gradient(trainer, batch, 2)

    batch = with_old_logps(make_trainer(arguments(), dataset), fixed_batch())
    torch.testing.assert_close(gradient(0.8, 0.25), gradient(0.2, 1.0), atol=1e-7, rtol=1e-5)
    assert (gradient(0.8, 0.25) - gradient(0.8, 1.0)).abs().max() > 1e-3


def test_kl_cov_is_off_until_the_policy_has_moved(arguments, dataset):
    trainer = make_trainer(arguments(loss_type="dr_grpo", kl_cov_ratio=0.2), dataset)
    scored = select(trainer, with_old_logps(trainer, fixed_batch()))
    still = step_gradient(trainer, scored, 2, moved=False)
    moved = step_gradient(trainer, scored, 2, moved=True)
    assert (still - moved).abs().max() > 1e-3
    without = make_trainer(arguments(loss_type="dr_grpo", kl_cov_ratio=0.2, kl_cov_coef=1e-12), dataset)
    torch.testing.assert_close(still, step_gradient(without, scored, 2), atol=1e-6, rtol=1e-5)
