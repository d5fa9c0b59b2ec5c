"""The tokenizer: 109 tokens, lossless on the task, and the same after saving, by every way of loading it."""

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trl_entropy.tasks import all_puzzles
from trl_entropy.tasks.tiny_model import build_model
from trl_entropy.tasks.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_size_and_special_tokens(tokenizer):
    assert len(tokenizer) == 109
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)


def test_every_prompt_and_solution_survives_a_round_trip(tokenizer):
    texts = [text for puzzle in all_puzzles()[::7] for text in (puzzle.prompt, *puzzle.solutions)]
    tokens = tokenizer(texts).input_ids
    assert tokenizer.batch_decode(tokens) == texts
    assert all(tokenizer.unk_token_id not in row for row in tokens)
    assert {len(row) for row, text in zip(tokens, texts, strict=True) if text.endswith(":")} == {6}


def test_unknown_words_become_unk_and_are_not_dropped(tokenizer):
    assert tokenizer("3 hello 100").input_ids == [tokenizer.convert_tokens_to_ids("3"), 2, 2]


def test_pads_on_the_left(tokenizer):
    assert tokenizer(["1", "1 2"], padding=True).input_ids[0][0] == tokenizer.pad_token_id


def test_saved_with_its_model_it_loads_as_itself(tokenizer, tmp_path):
    """`AutoTokenizer` looks at the model's type first: a type with its own tokenizer class would get that instead."""
    build_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    text = "3 5 2 -> 17 : 3 * 5 = 15 + 2 = 17 <eos>"
    expected = tokenizer(text).input_ids
    for load in (AutoTokenizer, PreTrainedTokenizerFast):
        loaded = load.from_pretrained(tmp_path)
        assert loaded(text).input_ids == expected
        assert loaded.decode(expected, skip_special_tokens=True) == "3 5 2 -> 17 : 3 * 5 = 15 + 2 = 17"
        assert (loaded.pad_token_id, loaded.eos_token_id, loaded.padding_side) == (0, 1, "left")
