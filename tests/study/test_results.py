"""From samples to the small file, and back to figures: by hand, and against `trl-entropy eval`'s own figures."""

import json

import numpy as np
import pytest
import torch

from trl_entropy.evaluate.sampling import Completion
from trl_entropy.evaluate.scores import problem_figures
from trl_entropy.evaluate.verdicts import grade
from trl_entropy.functional.nucleus import nucleus_mask
from trl_entropy.study import measure as measuring
from trl_entropy.study.compared import compared
from trl_entropy.study.measure import graded, measure
from trl_entropy.study.outcome import Outcome, block_means, columns, decode, encode, read_outcomes
from trl_entropy.tasks import TASKS, puzzles
from trl_entropy.tasks.tiny_model import build_model
from trl_entropy.tasks.tokenizer import build_tokenizer


COUNTDOWN = TASKS["countdown"]
PROMPT = "3 5 2 -> 17 :"
RIGHT, ALSO_RIGHT, WRONG = "3 * 5 = 15 + 2 = 17", "5 * 3 = 15 + 2 = 17", "3 + 5 = 8 + 2 = 10"


def test_figures_of_samples_worked_by_hand():
    """One prompt with 3 of 16 right in two ways and a wrong answer in the majority, one with all right."""
    texts = [[RIGHT, RIGHT, ALSO_RIGHT] + [WRONG] * 13, [RIGHT] * 8 + [ALSO_RIGHT] * 8]
    # 8 samples of 3 tokens with 0.125 nats, 24 of one token with 0.625: (24 * 0.125 + 24 * 0.625) / 48
    lengths = [(3, i < 2, 0.125) if i < 8 else (1, False, 0.625) for i in range(32)]
    every = [Completion(text, *length) for text, length in zip(texts[0] + texts[1], lengths, strict=True)]
    row = graded(COUNTDOWN, [PROMPT] * 2, [every[:16], every[16:]])
    assert (row["correct"], row["distinct"], row["vote"]) == ("3g", "22", "0Y")  # 16 is g, 60 sixtieths are Y
    assert (row["entropy"], row["tokens"], row["truncated"]) == (0.375, 1.5, 0.0625)
    figures = columns(row)
    assert figures["pass@1"].tolist() == pytest.approx([3 / 16, 1.0])
    assert figures["pass@2"].tolist() == pytest.approx([1 - (13 * 12) / (16 * 15), 1.0])
    assert figures["pass@16"].tolist() == [1.0, 1.0]
    assert figures["maj@16"].tolist() == [0.0, 1.0]  # two right answers share the second's vote
    assert figures["distinct@16"].tolist() == [2.0, 2.0]


def test_answers_that_cannot_be_read_are_counted():
    texts = ["3 * 5 + 8", "8 + 3 * 5 = 23", "the 3", ""] * 4
    row = graded(TASKS["sums"], ["23 from 3, 5, 8:"], [[Completion(text, 1, False, 0.0) for text in texts]])
    assert (row["unreadable"], row["correct"]) == (0.75, "4")
    assert "unreadable" not in graded(COUNTDOWN, [PROMPT], [[Completion(RIGHT, 1, False, 0.0)] * 16])


def test_the_nucleus_by_hand():
    """The fewest words that reach 0.8: two of the first row (0.85), one of the second, four of the third."""
    rows = torch.tensor([[0.05, 0.6, 0.25, 0.1, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [0.24, 0.19, 0.19, 0.19, 0.19]])
    outside, size = measuring.nucleus(rows.log())
    assert outside.tolist() == pytest.approx([0.15, 0.0, 0.19])
    assert size.tolist() == [2.0, 1.0, 4.0]


def test_means_are_those_that_every_run_has():
    runs = [outcome("start", [2]), outcome("plain", [4, 8]), outcome("new", [2, 4])]
    for run in runs:
        for row in run.content["evaluations"]:
            row.update(outside=0.01 * row["batch"], unreadable=0.1)
    del runs[2].content["evaluations"][1]["unreadable"]
    found = compared(runs, "countdown", "heldout")["methods"]
    assert [point["outside"] for point in found["plain"]["path"]] == pytest.approx([0.0, 0.1, 0.2])
    assert [point["unreadable"] for point in found["plain"]["path"]] == [0.1, 0.1, 0.1]
    assert "unreadable" not in found["new"]["path"][0] and "nucleus" not in found["new"]["path"][0]


def test_a_tied_vote_is_kept_as_a_share():
    texts = [RIGHT] * 5 + [WRONG] * 5 + [""] + ["1", "2", "3", "4", "5"]
    row = graded(COUNTDOWN, [PROMPT], [[Completion(text, 1, False, 0.0) for text in texts]])
    assert columns(row)["maj@16"].tolist() == [0.5]


def test_digits_come_back():
    assert decode(encode(np.arange(62))).tolist() == list(range(62))


@pytest.fixture(scope="module")
def untrained():
    return build_model(), build_tokenizer()


def test_measuring_is_repeatable_and_leaves_the_run_alone(untrained):
    model, tokenizer = untrained
    model.train()
    prompts = [puzzle.prompt for puzzle in puzzles("heldout")[:6]]
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = measure(model, tokenizer, COUNTDOWN, prompts, chunk=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    torch.manual_seed(4)
    assert measure(model, tokenizer, COUNTDOWN, prompts, chunk=4) == first


def test_a_cold_policy_gives_one_answer(untrained):
    model, tokenizer = untrained
    prompts = [puzzle.prompt for puzzle in puzzles("heldout")[:2]]
    with torch.no_grad():
        hot, cold = (
            measuring._sample(model, tokenizer, prompts, COUNTDOWN.longest, value).groups for value in (1.0, 1e-4)
        )
    assert [len({sample.text for sample in group}) for group in cold] == [1, 1]
    assert all(len({sample.text for sample in group}) > 8 for group in hot)


def test_entropy_is_the_mean_over_sampled_tokens_up_to_the_end_token(untrained):
    """Against a slow loop with a forward pass for each completion on its own."""
    model, tokenizer = untrained
    model.eval()
    prompts = [puzzle.prompt for puzzle in puzzles("heldout")[:2]]
    bias = torch.zeros(len(tokenizer))
    bias[tokenizer.eos_token_id] = 3.0  # an untrained model hardly ever ends
    bias[[tokenizer.pad_token_id, tokenizer.unk_token_id]] = -1e4  # what decoding leaves out could not be put back
    model.lm_head.bias = torch.nn.Parameter(bias)
    try:
        torch.manual_seed(0)
        with torch.no_grad():
            found = measuring._sample(model, tokenizer, prompts, COUNTDOWN.longest, 1.0)
            lengths = set()
            outsides, sizes = found.outside.reshape(2, 16), found.nucleus.reshape(2, 16)
            for prompt, *row in zip(prompts, found.groups, outsides, sizes, strict=True):
                for sample, outside, nucleus in zip(*row, strict=True):
                    length = len(tokenizer(prompt).input_ids)
                    tokens = tokenizer(f"{prompt} {sample.text}").input_ids
                    if len(tokens) - length < COUNTDOWN.longest:
                        tokens.append(tokenizer.eos_token_id)
                    logits = model(torch.tensor([tokens])).logits[0, length - 1 : -1]
                    entropy = torch.distributions.Categorical(logits=logits).entropy().mean().item()
                    assert (sample.tokens, sample.entropy) == (len(logits), pytest.approx(entropy, rel=1e-5))
                    assert sample.truncated == (tokens[-1] != tokenizer.eos_token_id)
                    probabilities = logits.softmax(-1)
                    inside = nucleus_mask(logits, 0.8)
                    mass = (probabilities * ~inside).sum(-1).mean().item()
                    size = inside.sum(-1).float().mean().item()
                    assert (outside, nucleus) == (pytest.approx(mass, rel=1e-4), pytest.approx(size, rel=0.02))
                    lengths.add(len(logits))
            assert len(lengths) > 1
    finally:
        model.lm_head.bias = None


def test_figures_are_those_of_trl_entropy_eval():
    from trl_entropy.evaluate.problems import puzzle_problem

    chosen = puzzles("heldout")[:4]
    generator = np.random.default_rng(0)
    texts = [[generator.choice([p.solutions[0], p.solutions[-1], "1 + 1", ""]) for _ in range(16)] for p in chosen]
    samples = [[Completion(str(text), 9, False, 0.5) for text in group] for group in texts]
    found = columns(graded(COUNTDOWN, [p.prompt for p in chosen], samples))
    grades = grade([puzzle_problem(p) for p in chosen], [[c.text for c in group] for group in samples], "countdown")
    for name, values in problem_figures(grades, samples, (1, 2, 4, 8, 16), votes=[16]).items():
        name = name.replace("distinct_correct", "distinct@16")
        if name in found:
            np.testing.assert_allclose(found[name], values, atol=1e-12)


def test_curves_are_means_over_blocks_of_batches():
    log = [
        {"step": 1, "loss": 1.0, "reward": 0.2, "note": "x"},
        {"step": 2, "loss": 3.0, "epoch": 0.5},
        {"step": 3, "loss": 5.0, "reward": float("nan")},
        {"step": 6, "loss": 7.0, "reward": 0.6},
        {"step": 6, "train_runtime": 9.0},
    ]
    assert block_means(log, steps_per_batch=2, points=9) == {
        "batch": [1, 2, 3],
        "loss": [2.0, 5.0, 7.0],
        "reward": [0.2, None, 0.6],
    }
    assert block_means(log, steps_per_batch=2, points=2) == {"batch": [2, 3], "loss": [3.0, 7.0], "reward": [0.2, 0.6]}
    assert block_means([], 2, 2) == {}


# --- methods side by side ---

PLAN = {
    "task": "countdown",
    "setting": {},
    "batches": 20,
    "prompts_per_batch": 2,
    "arguments": {"num_generations": 16},
}


def outcome(method, correct, seed=0, length=10.0, **changes):
    """A run measured after 10 and 20 batches: every problem has `correct` right samples of 16 there."""
    batches = [0] if method == "start" else [10, 20]
    row = {"split": "heldout", "entropy": 0.5, "vote": encode(np.full(30, 60)), "distinct": encode(np.full(30, 2))}
    rows = [{**row, "batch": b, "correct": encode(np.full(30, c))} for b, c in zip(batches, correct, strict=True)]
    curves = {"batch": [10, 20], "completions/mean_length": [length, 2 * length]} if method != "start" else {}
    plan = {**PLAN, "method": method, "seed": seed, "batches": batches[-1], **changes}
    return Outcome({"plan": plan, "seconds": 36.0, "evaluations": rows, "curves": curves})


def test_tokens_seen_add_up_block_by_block():
    run = outcome("plain", [4, 8])  # 32 completions a batch: 10 batches of 320 tokens, 10 of 640
    assert run.tokens_seen([0, 5, 10, 15, 20]).tolist() == [0, 1600, 3200, 6400, 9600]


def test_methods_side_by_side_worked_by_hand():
    runs = [
        outcome("start", [2]),
        outcome("plain", [4, 8]),
        outcome("plain", [8, 8], 1),
        outcome("new", [2, 4], 0, 5.0),
    ]
    found = compared(runs, "countdown", "heldout")
    plain, new = found["methods"]["plain"], found["methods"]["new"]
    assert [point["pass@1"]["value"] for point in plain["path"]] == pytest.approx([2 / 16, 6 / 16, 8 / 16])
    assert [plain["path"][1]["pass@1"][end] for end in ("low", "high")] == pytest.approx([4 / 16, 8 / 16])  # its seeds
    assert (plain["seeds"], plain["hours"]) == ([0, 1], 0.02)
    assert found["start"] == plain["path"][0]
    assert new["difference"]["pass@1"]["value"] == pytest.approx(-4 / 16)
    assert found["token_budget"] == 4800.0  # plain has that many after 10 + 1600 / 640 batches
    assert new["equal_tokens"]["pass@1"]["value"] == pytest.approx(4 / 16 - (6 + 2 * 0.25) / 16)
    assert "difference" not in plain
    assert new["frontier"]["top"]["value"] == pytest.approx(4 / 16)
    assert new["frontier"]["best_gap"]["value"] is None
    # At pass@1 4/16 the new method has its own pass@16, 1; plain is half the way from 2/16 to 6/16: 1, too
    assert new["frontier"]["top_gap"]["value"] == pytest.approx(0.0)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(ValueError, match="selection"):
        compared([outcome("start", [2]), outcome("plain", [4, 8])], "countdown", "selection")
    other = outcome("plain", [4, 8], 1)
    other.content["evaluations"][0]["batch"] = 5
    with pytest.raises(ValueError, match="plain: its seeds"):
        compared([outcome("start", [2]), outcome("plain", [4, 8]), other], "countdown", "heldout")


def test_a_result_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "countdown").mkdir()
    (tmp_path / "countdown" / "plain-seed0.json").write_text(json.dumps({"seconds": 1}))
    with pytest.raises(ValueError, match=r"plain-seed0.json holds no result"):
        read_outcomes(tmp_path)


def test_cooled_policies_are_compared_where_pass_1_is_equal():
    """Plain ends at pass@1 .5 with pass@16 1.0, cold it has .625 and .75. The method has .25 and .5 at temperature
    1.5, and .75 and 1.0 at 0.5. Where it has .5 it has .75 of pass@16; where it has .625, .875."""
    runs = [outcome("start", [2]), outcome("plain", [4, 8]), outcome("new", [4, 6])]

    def row(temperature: float, counts: np.ndarray) -> dict:
        return {**runs[1].content["evaluations"][0], "temperature": temperature, "correct": encode(counts)}

    solved = np.arange(40)
    for run in runs:
        for evaluation in run.content["evaluations"]:
            evaluation["correct"] = evaluation["correct"][:1] * 40
            evaluation["vote"], evaluation["distinct"] = "Y" * 40, "2" * 40
    runs[0].content["temperatures"] = [row(0.5, np.full(40, 12))]
    runs[1].content["temperatures"] = [
        row(1.5, np.full(40, 8)),
        row(0.5, np.select([solved < 20, solved < 30], [16, 8], 0)),
    ]
    runs[2].content["temperatures"] = [row(0.5, np.full(40, 12)), row(1.5, np.repeat([8, 0], 20))]
    found = compared(runs, "countdown", "heldout")
    new = found["methods"]["new"]
    assert [row["temperature"] for row in new["temperatures"]] == [1.5, 0.5]
    assert [row["pass@1"]["value"] for row in new["temperatures"]] == pytest.approx([0.25, 0.75])
    cold = found["methods"]["plain"]["temperatures"][1]
    assert [cold[name]["value"] for name in ("pass@1", "pass@16")] == pytest.approx([0.625, 0.75])
    figures = {name: value["value"] for name, value in new["cooled"].items()}
    assert figures["gap"] == pytest.approx(0.75 - 1.0)
    assert (figures["top"], figures["top_gap"]) == pytest.approx((0.625, 0.875 - 0.75))
    assert figures["best_gap"] == pytest.approx(0.875 - 0.75)
    assert "cooled" not in found["methods"]["plain"]
    assert [row["pass@16"]["value"] for row in found["start_temperatures"]] == pytest.approx([1.0])
