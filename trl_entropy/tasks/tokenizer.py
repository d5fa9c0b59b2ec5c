"""The tasks' tokenizers: one token a word."""

from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from .countdown import COUNTDOWN


PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
LONGEST = 128  # tokens of a prompt with its completion


def build_tokenizer(words: Sequence[str] = COUNTDOWN.vocabulary) -> PreTrainedTokenizerFast:
    """A word-level tokenizer of these words, padding, end and unknown; countdown's has 109 tokens.

    It pads on the left, adds no token of its own, and loads from `save_pretrained` with `AutoTokenizer`.

    Example:

        >>> tokenizer = build_tokenizer()
        >>> tokenizer.decode(tokenizer("3 5 2 -> 17 :").input_ids)
        '3 5 2 -> 17 :'
    """
    numbers = {word: number for number, word in enumerate((PAD, EOS, UNK, *words))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), behavior="removed")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=LONGEST,
    )
