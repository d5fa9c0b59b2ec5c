"""The token map: which completions are kept, and what is written of each token."""

import json

import pytest
import torch

from trl_entropy.callbacks.token_map import TokenMapRecorder, token_texts


WORDS = ["<pad>", "<eos>", "a", "b", "c", "d"]


def decode(ids):
    return "".join(WORDS[i] for i in ids)


def batch(**overrides):
    """Two completions of three places; the last place of the second is padding."""
    return {
        "prompt_ids": torch.tensor([[0, 2], [3, 4]]),
        "prompt_mask": torch.tensor([[0, 1], [1, 1]]),
        "completion_ids": torch.tensor([[2, 3, 1], [4, 5, 0]]),
        "mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        "logps": torch.tensor([[-1.0, -2.0, -3.0], [-4.0, -5.0, 1e9]]),
        "entropy": torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, torch.nan]]),
        "advantages": torch.tensor([1.0, -1.5]),
        **overrides,
    }


def rows_of(recorder):
    return [json.loads(line) for line in recorder.path.read_text(encoding="utf-8").splitlines()]


def test_figures_worked_by_hand(tmp_path):
    recorder = TokenMapRecorder(tmp_path, completions=2, every=10, decode=decode, method="siren")
    kept = torch.tensor([[False, True, True], [True, False, False]])
    assert recorder.observe(1, **batch(marks={"kept": kept, "nucleus_entropy": torch.full((2, 3), 0.25)})) == 2
    first, second = rows_of(recorder)
    assert first == {
        "step": 1,
        "method": "siren",
        "prompt": "a",
        "tokens": ["a", "b", "<eos>"],
        "left_out": 0,
        "logp": [-1, -2, -3],
        "entropy": [0.1, 0.2, 0.3],
        "advantage": 1,
        # means over the five counted tokens: logp -3, advantage 0
        "covariance": [2, 1, 0],
        "nucleus_entropy": [0.25, 0.25, 0.25],
        "kept": [1, 2],
    }
    assert second["tokens"] == ["c", "d"]  # padding is not a token, and its NaN went nowhere
    assert second["advantage"] == -1.5
    assert second["covariance"] == [1.5, 3]
    assert second["kept"] == [0]


def test_a_snapshot_is_filled_over_micro_batches_and_then_closed(tmp_path):
    recorder = TokenMapRecorder(tmp_path, completions=3, every=10, decode=decode)
    assert [recorder.observe(1, **batch()) for _ in range(3)] == [2, 1, 0]
    assert [recorder.observe(step, **batch()) for step in (2, 9, 10, 11, 20)] == [0, 0, 2, 0, 2]
    assert [row["step"] for row in rows_of(recorder)] == [1, 1, 1, 10, 10, 20, 20]


def test_per_token_advantages_and_marks_are_kept_as_they_are(tmp_path):
    recorder = TokenMapRecorder(tmp_path, completions=1, every=1, decode=decode)
    clipped = torch.tensor([[True, False, False], [False, False, False]])
    recorder.observe(1, **batch(advantages=torch.tensor([[1.0, 2.0, 1.0], [0, 0, 0]]), marks={"clipped": clipped}))
    (row,) = rows_of(recorder)
    assert row["advantage"] == [1, 2, 1]
    assert row["clipped"] == [0]
    assert "penalised" not in row


def test_long_completions_are_cut_and_the_rest_counted(tmp_path):
    recorder = TokenMapRecorder(tmp_path, completions=1, every=1, decode=decode, max_tokens=2)
    recorder.observe(1, **batch())
    (row,) = rows_of(recorder)
    assert (row["tokens"], row["left_out"], row["logp"]) == (["a", "b"], 1, [-1, -2])


def test_a_value_that_is_not_finite_is_null_and_the_file_stays_json(tmp_path):
    recorder = TokenMapRecorder(tmp_path, completions=1, every=1, decode=decode)
    recorder.observe(1, **batch(entropy=torch.tensor([[torch.nan, torch.inf, 0.3], [0, 0, 0]])))
    assert rows_of(recorder)[0]["entropy"] == [None, None, 0.3]


def test_an_empty_completion_has_no_tokens(tmp_path):
    recorder = TokenMapRecorder(tmp_path, completions=1, every=1, decode=decode)
    recorder.observe(1, **batch(mask=torch.zeros(2, 3, dtype=torch.long)))
    assert rows_of(recorder)[0]["tokens"] == []
    assert rows_of(recorder)[0]["advantage"] == []


def test_the_random_numbers_of_training_are_not_touched(tmp_path):
    before = torch.get_rng_state()
    TokenMapRecorder(tmp_path, completions=1, every=1, decode=decode).observe(1, **batch())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_character_split_over_tokens_is_shown_once():
    raw = "é€".encode()
    assert token_texts([0, 1, 2, 3, 4], lambda ids: bytes(raw[i] for i in ids).decode(errors="replace")) == [
        "é", "", "€", "", "",
    ]  # fmt: skip
    assert token_texts([0], lambda ids: "\ufffd") == ["\ufffd"]


@pytest.mark.parametrize(
    "settings", [{"completions": 0, "every": 1}, {"completions": 1, "every": 0}, {"max_tokens": 0}]
)
def test_settings_below_one_are_refused(tmp_path, settings):
    with pytest.raises(ValueError, match="at least 1"):
        TokenMapRecorder(tmp_path, decode=decode, **{"completions": 1, "every": 1, **settings})
