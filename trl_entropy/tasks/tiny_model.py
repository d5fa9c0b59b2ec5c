"""The countdown task's model: small enough for a CPU core, large enough to have something to lose.

It is a Llama with biases, which is a Qwen2 but for one bias vector a layer. It does not say `qwen2` because
`AutoTokenizer` gives every model of that type Qwen's own byte-level tokenizer, whatever its folder holds.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .tokenizer import EOS, PAD, VOCABULARY


def build_model(seed: int = 0) -> LlamaForCausalLM:
    """A Llama of 0.37 M parameters (width 96, 3 layers, 4 heads), freshly initialised from `seed`.

    The global random state is left as it was.
    """
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        attention_bias=True,
        rms_norm_eps=1e-6,
        bos_token_id=None,
        eos_token_id=VOCABULARY.index(EOS),
        pad_token_id=VOCABULARY.index(PAD),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
