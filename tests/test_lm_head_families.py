"""Through the seam, on tiny models of many families: log-probability, entropy and every gradient are TRL's head's.

Each family brings something of its own to the head: tied or separate weights, a bias, a logit scale or its inverse,
soft-capping, experts with an auxiliary loss.
"""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from trl.trainer import utils as trl_utils
from trl.trainer.utils import add_fused_lm_head

from trl_entropy.functional import nucleus_entropy
from trl_entropy.functional.head.dense import dense_log_probs
from trl_entropy.functional.head.sets import DropShare, MinP
from trl_entropy.lm_head import add_head


VOCAB = 150
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = {
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": False},
    "llama": {"tie_word_embeddings": False},
    "mistral": {},
    "phi": {"tie_word_embeddings": False},  # its head has a bias
    "gemma2": {"final_logit_softcapping": 4.0, "query_pre_attn_scalar": 16},
    "cohere2": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 3.0},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True},
    "qwen3_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "output_router_logits": True,
    },
}
HEAD_OF = {"outputs": ("log_probs", "entropy"), "temperature": 0.7}


def make(family: str, seed: int = 0):
    torch.manual_seed(seed)
    config = CONFIG_MAPPING[family](**{**SHAPE, **FAMILIES[family]})
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval()
    head = model.get_output_embeddings()
    if head.bias is not None:
        torch.nn.init.normal_(head.bias)
    return model


def batch(valid: bool = True) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCAB, (3, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, :4], mask[2, :1] = 0, 0  # padded on the left
    labels = ids.masked_fill(mask == 0, -100)
    labels[1, :3] = -100  # a prompt
    return {"input_ids": ids, "attention_mask": mask, "labels": labels if valid else torch.full_like(labels, -100)}


def forward(model, inputs):
    return model(**inputs, fused_lm_head=True)


def gradients(model, output, entropy) -> dict[str, torch.Tensor | None]:
    """Of the scored log-probabilities, the entropies with weights that differ, and the auxiliary loss where it is."""
    model.zero_grad()
    weight = torch.linspace(0.5, 1.5, entropy.numel()).view_as(entropy)
    (output.loss + (weight * entropy).sum()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float) -> None:
    assert set(ours) == set(theirs)
    assert theirs
    for name, gradient in theirs.items():
        difference = (ours[name] - gradient).norm() / gradient.norm().clamp(min=1e-6)
        assert difference < tolerance, f"{name}: {difference}"


@pytest.mark.parametrize("valid", [True, False], ids=["labels", "no valid label"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_trls_head(family, valid):
    model = make(family)
    add_fused_lm_head(model, **HEAD_OF)
    head = add_head(model, 0.8)
    inputs = batch(valid)
    stock = forward(model, inputs)
    theirs = gradients(model, stock, stock.entropy)
    with head.measuring():
        measured = forward(model, inputs)
    ours = gradients(model, measured, measured.entropy[..., 0])

    torch.testing.assert_close(measured.log_probs, stock.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(measured.entropy[..., 0], stock.entropy, rtol=1e-5, atol=1e-5)
    assert torch.equal(measured.label_mask, stock.label_mask)
    if stock.aux_loss is not None:
        assert torch.equal(measured.aux_loss, stock.aux_loss)
    assert (stock.aux_loss is not None) == (family in ("mixtral", "qwen3_moe"))
    assert_equal(ours, theirs, 1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_nucleus_entropy_is_that_of_the_models_logits(family):
    """The channel that TRL does not have, against the model's own full logits, value and gradient."""
    model = make(family)
    add_fused_lm_head(model, **HEAD_OF)
    head = add_head(model, 0.8)
    inputs = batch()
    with head.measuring():
        measured = forward(model, inputs)
    nucleus = measured.entropy[..., 1]
    mask = inputs["labels"][:, 1:] != -100
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    expected = nucleus_entropy(logits / HEAD_OF["temperature"], 0.8).masked_fill(~mask, 0)
    torch.testing.assert_close(nucleus, expected, rtol=1e-4, atol=1e-5)
    assert (nucleus[mask] > 0).any()
    assert (measured.entropy[..., 2][mask] >= 1).all()

    weight = torch.linspace(0.5, 1.5, nucleus.numel()).view_as(nucleus)
    parameters = [p for name, p in model.named_parameters() if "router" not in name and ".gate." not in name]
    ours = torch.autograd.grad((weight * nucleus).sum(), parameters, allow_unused=True)
    plain = torch.autograd.grad((weight * expected).sum(), parameters, allow_unused=True)
    for a, b in zip(ours, plain, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert (a - b).norm() <= 1e-3 * b.norm() + 1e-6


@pytest.mark.parametrize("family", ["qwen2", "phi", "gemma2", "cohere2"])
@pytest.mark.parametrize("fp32_head", [False, True], ids=["head in bf16", "head in fp32"])
def test_equals_trls_head_under_autocast(family, fp32_head):
    model = make(family)
    add_fused_lm_head(model, cast_lm_head_to_fp32=fp32_head, **HEAD_OF)
    head = add_head(model, 0.8)
    inputs = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        stock = forward(model, inputs)
    theirs = gradients(model, stock, stock.entropy)
    with torch.autocast("cpu", dtype=torch.bfloat16), head.measuring():
        measured = forward(model, inputs)
    ours = gradients(model, measured, measured.entropy[..., 0])
    # same product in the same dtype: what differs is the order of sums in float32
    torch.testing.assert_close(measured.log_probs, stock.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(measured.entropy[..., 0], stock.entropy, rtol=1e-5, atol=1e-5)
    # the body's backward rounds to bfloat16 (2^-8), which magnifies that
    assert_equal(ours, theirs, 1e-2)


@pytest.mark.parametrize("family", ["qwen2", "mistral"])
def test_equals_trls_head_with_lora(family):
    """A frozen head gets no gradient; the adapters get TRL's."""
    base = make(family)
    add_fused_lm_head(base, **HEAD_OF)
    head = add_head(base, 0.8)
    torch.manual_seed(2)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    inputs = batch()
    stock = forward(model, inputs)
    theirs = gradients(model, stock, stock.entropy)
    with head.measuring():
        measured = forward(model, inputs)
    ours = gradients(model, measured, measured.entropy[..., 0])
    assert all("lora" in name for name in ours)
    torch.testing.assert_close(measured.log_probs, stock.log_probs, rtol=1e-5, atol=1e-5)
    assert_equal(ours, theirs, 1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_labels_that_are_already_shifted(family):
    """As context and sequence parallelism pass them: every position is scored, none is dropped."""
    model = make(family)
    add_fused_lm_head(model, **HEAD_OF)
    head = add_head(model, 0.8)
    inputs = batch()
    inputs["shift_labels"] = inputs.pop("labels")
    stock = forward(model, inputs)
    with head.measuring():
        measured = forward(model, inputs)
    assert measured.entropy.shape == (*inputs["input_ids"].shape, 3)
    torch.testing.assert_close(measured.log_probs, stock.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(measured.entropy[..., 0], stock.entropy, rtol=1e-5, atol=1e-5)


def test_a_model_in_bfloat16():
    model = make("qwen3").bfloat16()
    add_fused_lm_head(model, **HEAD_OF)
    head = add_head(model, 0.8)
    stock = forward(model, batch())
    with head.measuring():
        measured = forward(model, batch())
    torch.testing.assert_close(measured.log_probs, stock.log_probs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(measured.entropy[..., 0], stock.entropy, rtol=1e-5, atol=1e-5)
    theirs = gradients(model, stock, stock.entropy)
    ours = gradients(model, measured, measured.entropy[..., 0])
    assert_equal(ours, theirs, 2e-2)


SETS = {"min_p": MinP(0.05), "kept": DropShare(0.3)}
CHANNELS = (
    "nucleus_entropy", "nucleus_size", "min_p_log_mass", "min_p_entropy", "kept_log_mass", "kept_entropy",
    "top_probability", "second_probability",
)  # fmt: skip


@pytest.mark.parametrize("compact", [False, True], ids=["every position", "valid positions only"])
@pytest.mark.parametrize("valid", [True, False], ids=["labels", "no valid label"])
@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_every_channel_is_that_of_the_models_logits(family, valid, compact, monkeypatch):
    """Values and gradients against the model's own full logits; where there is no label, 0, as TRL has it."""
    monkeypatch.setattr(trl_utils, "_use_triton", lambda _: compact, raising=False)  # TRL 1.15 is always compact
    model = make(family)
    add_fused_lm_head(model, **HEAD_OF)
    head = add_head(model, 0.8, sets=SETS, top_two=True)
    inputs = batch(valid)
    with head.measuring():
        measured = forward(model, inputs)
    entropy, channels = head.split(measured.entropy)
    assert tuple(channels) == head.channels == CHANNELS
    mask = inputs["labels"][:, 1:] != -100
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    flat = logits.reshape(-1, VOCAB) / HEAD_OF["temperature"]
    _, full, *expected, top_two = dense_log_probs(
        flat,
        torch.eye(VOCAB),
        None,
        torch.zeros(len(flat), dtype=torch.int64),
        top_p=0.8,
        return_nucleus_size=True,
        sets=tuple(SETS.values()),
        return_top_two=True,
    )
    parameters = [p for name, p in model.named_parameters() if "norm" not in name]
    for ours, theirs in zip((entropy, *channels.values()), (full, *expected, *top_two.unbind(-1)), strict=True):
        theirs = theirs.view(mask.shape).masked_fill(~mask, 0)
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-4, atol=1e-5)
        if theirs.requires_grad and valid:
            gradients = [
                torch.autograd.grad((torch.linspace(0.5, 1.5, 24) * x.flatten()).sum(), parameters, retain_graph=True)
                for x in (ours, theirs)
            ]
            for a, b in zip(*gradients, strict=True):
                assert (a - b).norm() <= 1e-3 * b.norm() + 1e-6
    assert entropy.requires_grad


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scoring_forward_has_the_same_log_probabilities_to_the_last_bit(family):
    model = make(family)
    add_fused_lm_head(model, **HEAD_OF)
    head = add_head(model, 0.8, sets=SETS, top_two=True)
    inputs = batch()
    with torch.no_grad(), head.measuring(scoring=True):
        scored = forward(model, inputs)
    with head.measuring():
        measured = forward(model, inputs)
    assert torch.equal(scored.log_probs, measured.log_probs)
    assert torch.equal(scored.entropy, measured.entropy[..., 0])
    assert head.split(scored.entropy)[1] == {}
    assert measured.log_probs.requires_grad
