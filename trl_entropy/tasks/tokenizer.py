"""The countdown task's tokenizer: one token per number, operator and sign."""

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from .countdown import MAX_VALUE, OPERATORS


PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
VOCABULARY = (PAD, EOS, UNK, *OPERATORS, "=", "->", ":", *map(str, range(MAX_VALUE + 1)))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer of 109 tokens: 0 to 99, `+ - * = -> :`, padding, end and unknown.

    It pads on the left, adds no token of its own, and loads from `save_pretrained` with `AutoTokenizer`.

    Example:

        >>> tokenizer = build_tokenizer()
        >>> tokenizer.decode(tokenizer("3 5 2 -> 17 :").input_ids)
        '3 5 2 -> 17 :'
    """
    words = models.WordLevel({word: index for index, word in enumerate(VOCABULARY)}, unk_token=UNK)
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), behavior="removed")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=64,
    )
