"""The tasks' model: small enough for a CPU core, large enough to have something to lose.

It is a Llama with biases, which is a Qwen2 but for one bias vector a layer. It does not say `qwen2` because
`AutoTokenizer` gives every model of that type Qwen's own byte-level tokenizer, whatever its folder holds.
"""

from typing import cast

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from .tokenizer import LONGEST, build_tokenizer


def build_model(seed: int = 0, tokenizer: PreTrainedTokenizerBase | None = None) -> LlamaForCausalLM:
    """A Llama of 0.37 M parameters (width 96, 3 layers, 4 heads), freshly initialised from `seed`.

    The global random state is left as it was. Without a tokenizer the model is countdown's.
    """
    tokenizer = tokenizer or build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        attention_bias=True,
        rms_norm_eps=1e-6,
        bos_token_id=None,
        eos_token_id=cast(int, tokenizer.eos_token_id),
        pad_token_id=cast(int, tokenizer.pad_token_id),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
