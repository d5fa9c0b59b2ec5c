"""The demo: figures against hand-worked ones, claims only where intervals carry them, and a small run of it all."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from trl_entropy.cli import main, make_parser
from trl_entropy.demo import DemoSettings
from trl_entropy.demo import measure as evaluation
from trl_entropy.demo.measure import evaluate_policy
from trl_entropy.demo.reading import reading
from trl_entropy.demo.results import RunResult, at_equal_pass1, build_results, differences, entropy_ratio
from trl_entropy.demo.session import Demo
from trl_entropy.demo.settings import METHODS, read_changes
from trl_entropy.demo.table import results_table
from trl_entropy.evaluate.benchmarks import benchmark_named
from trl_entropy.evaluate.sampling import Completion
from trl_entropy.runlog import read_runs
from trl_entropy.tasks import Puzzle, puzzles
from trl_entropy.tasks.tiny_model import build_model
from trl_entropy.tasks.tokenizer import build_tokenizer


RIGHT, ALSO_RIGHT, WRONG = "3 * 5 = 15 + 2 = 17", "5 * 3 = 15 + 2 = 17", "3 + 5 = 8 + 2 = 10"
FIGURES = ("pass@1", "pass@2", "pass@4", "pass@8", "pass@16", "maj@16", "distinct@16", "entropy")


def columns(puzzle_count=40, **values):
    """Every figure with one value for all puzzles; `pass1=0.3` stands for `pass@1`."""
    named = {name.replace("pass1", "pass@1") if name != "pass16" else "pass@16": v for name, v in values.items()}
    return {name: np.full(puzzle_count, named.get(name, 0.5)) for name in FIGURES}


def run_of(method, path, seed=0):
    logs = tuple(float(batch) - 0.5 for batch in range(1, max(path) + 1))
    curve = tuple(0.3 for _ in logs)
    return RunResult(method=method, seed=seed, batches=logs, reward=curve, entropy=curve, evaluations=path)


# --- what is measured ---


def test_figures_of_samples_worked_by_hand(monkeypatch):
    """One puzzle with 3 of 16 right in two ways and a wrong answer in the majority, one with all right."""
    texts = [[RIGHT, RIGHT, ALSO_RIGHT] + [WRONG] * 13, [RIGHT] * 10 + [ALSO_RIGHT] * 6]
    # The first: 8 samples of 3 tokens with 0.125 nats, 8 of one token with 0.625: (24 * 0.125 + 8 * 0.625) / 32 = 0.25
    first = [Completion(text, *((3, False, 0.125) if i < 8 else (1, False, 0.625))) for i, text in enumerate(texts[0])]
    samples = [first, [Completion(text, 10, False, 0.75) for text in texts[1]]]
    monkeypatch.setattr(evaluation, "_sample", lambda *_: samples)
    model = torch.nn.Linear(1, 1)
    figures = evaluate_policy(model, None, [Puzzle((2, 3, 5), 17)] * 2, seed=0)  # pyright: ignore
    assert figures.pass_at[1].tolist() == pytest.approx([3 / 16, 1.0])
    assert figures.pass_at[2].tolist() == pytest.approx([1 - (13 * 12) / (16 * 15), 1.0])
    assert figures.pass_at[16].tolist() == [1.0, 1.0]
    assert figures.maj.tolist() == [0.0, 1.0]
    assert figures.distinct.tolist() == [2.0, 2.0]
    assert figures.entropy.tolist() == [0.25, 0.75]
    assert figures.means()["distinct@16"] == 2.0


@pytest.fixture(scope="module")
def untrained():
    tokenizer = build_tokenizer()
    return build_model(), tokenizer


def test_evaluation_is_repeatable_and_leaves_the_run_alone(untrained):
    model, tokenizer = untrained
    model.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = evaluate_policy(model, tokenizer, puzzles("heldout")[:6], seed=0, chunk=4).columns()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    torch.manual_seed(4)
    again = evaluate_policy(model, tokenizer, puzzles("heldout")[:6], seed=0, chunk=4).columns()
    assert all((first[name] == again[name]).all() for name in FIGURES)
    other = evaluate_policy(model, tokenizer, puzzles("heldout")[:6], seed=1, chunk=4).columns()
    assert (first["entropy"] != other["entropy"]).any()


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
            groups = evaluation._sample(model, tokenizer, prompts)
            lengths = set()
            for prompt, group in zip(prompts, groups, strict=True):
                for sample in group:
                    text = sample.text
                    length = len(tokenizer(prompt).input_ids)
                    tokens = tokenizer(f"{prompt} {text}").input_ids
                    if len(tokens) - length < evaluation.MAX_COMPLETION_LENGTH:
                        tokens.append(tokenizer.eos_token_id)
                    logits = model(torch.tensor([tokens])).logits[0, length - 1 : -1]
                    entropy = torch.distributions.Categorical(logits=logits).entropy().mean().item()
                    assert (sample.tokens, sample.entropy) == (len(logits), pytest.approx(entropy, rel=1e-5))
                    assert sample.truncated == (tokens[-1] != tokenizer.eos_token_id)
                    lengths.add(len(logits))
            assert len(lengths) > 1
    finally:
        model.lm_head.bias = None


def test_the_demos_figures_are_those_of_trl_entropy_eval(untrained, monkeypatch):
    """The same completions through the evaluator's engine interface, grader and summary."""
    from trl_entropy.evaluate.problems import load_problems
    from trl_entropy.evaluate.run import evaluate
    from trl_entropy.evaluate.sampling import Sampling

    model, tokenizer = untrained
    chosen, kept = puzzles("heldout")[:3], []
    sample = evaluation._sample

    def keeping(*arguments):
        solved = [
            [Completion(p.solutions[0], 9, False, 0.125), Completion(p.solutions[-1], 9, False, 0.25)] for p in chosen
        ]
        drawn = [[*right, *group[2:]] for right, group in zip(solved, sample(*arguments), strict=True)]
        kept.extend(drawn)
        return drawn

    monkeypatch.setattr(evaluation, "_sample", keeping)
    demo = evaluate_policy(model, tokenizer, chosen, seed=0).columns()

    class Replay:
        name = "replay"

        def lengths(self, prompts):
            return [1 for _ in prompts]

        def generate(self, prompts, sampling, seeds):
            return [completion for group in kept for completion in group]

    problems = load_problems(benchmark_named("countdown"), limit=3)
    found = evaluate(Replay(), problems, Sampling(n=16, temperature=1.0), evaluation.KS, "countdown")
    names = {"distinct@16": "distinct_correct"}
    for name, values in demo.items():
        np.testing.assert_array_equal(values, found.figures[names.get(name, name)])
    assert 0 < demo["pass@2"].mean() < 1


# --- what is made of it ---


def test_differences_and_entropy_ratio_worked_by_hand():
    plain, siren = columns(pass16=0.70, entropy=0.20), columns(pass16=0.75, entropy=0.30)
    found = differences(plain, siren)
    assert found["pass@16"]["difference"] == pytest.approx(0.05)
    assert found["pass@16"]["interval"] == pytest.approx([0.05, 0.05])
    assert found["pass@1"] == {"difference": 0.0, "interval": [0.0, 0.0], "p_value": 1.0}
    ratio = entropy_ratio(plain, siren)
    assert ratio["mean"] == pytest.approx(1.5)
    assert ratio["interval"] == pytest.approx([1.5, 1.5])


def test_comparison_at_equal_pass1_worked_by_hand():
    """Plain: (.3, .9), (.4, .7), (.42, .69). Other ends at (.36, .86). At .36 plain has .9 - .2 * .06 / .1."""
    start = columns(pass1=0.30, pass16=0.90)
    plain = {10: columns(pass1=0.40, pass16=0.70), 20: columns(pass1=0.42, pass16=0.69)}
    other = {10: columns(pass1=0.33, pass16=0.88), 20: columns(pass1=0.36, pass16=0.86)}
    found = at_equal_pass1(start, plain, other)
    assert found is not None
    assert found["pass@1"] == pytest.approx(0.36)
    assert found["reference_pass@16"] == pytest.approx(0.78)
    assert found["pass@16"] == pytest.approx(0.86)
    assert found["difference"] == pytest.approx(0.08)
    assert found["interval"] == pytest.approx([0.08, 0.08])


def test_no_comparison_where_a_path_never_rises():
    start = columns(pass1=0.30)
    assert at_equal_pass1(start, {1: columns(pass1=0.4)}, {1: columns(pass1=0.29)}) is None


def noisy(mean, spread, seed):
    return np.clip(np.random.default_rng(seed).normal(mean, spread, 200), 0, 1)


def results_with(difference, spread):
    start = {name: noisy(0.5, 0.01, 0) for name in FIGURES}
    plain = {name: noisy(0.6, spread, 1) for name in FIGURES}
    siren = {**plain, "pass@16": plain["pass@16"] + difference + spread * (-1) ** np.arange(200)}
    results = build_results(start, [run_of("plain", {2: plain}), run_of("siren", {2: siren})])
    results["settings"] = {"puzzles": 200, "split": "heldout", "prompts_per_batch": 48}
    return results


@pytest.mark.parametrize(
    ("difference", "spread", "claim"),
    [
        (0.1, 0.02, "a higher pass@16 than GRPO (+0."),
        (-0.1, 0.02, "a lower pass@16 than GRPO (-0."),
        (0.01, 0.2, "no clear difference from GRPO in pass@16 (+0."),
        (-0.01, 0.2, "no clear difference from GRPO in pass@16 (-0."),
    ],
)
def test_the_reading_claims_what_the_interval_carries(difference, spread, claim):
    sentences = reading(results_with(difference, spread))
    assert any(f"SIREN ends with {claim}" in sentence for sentence in sentences)
    assert any("SIREN ends with no clear difference from GRPO in pass@1 (+0.000" in sentence for sentence in sentences)
    assert "one seed a method" in sentences[-1]


def test_seeds_are_averaged_puzzle_by_puzzle():
    runs = [run_of("plain", {1: columns(pass16=value)}, seed) for seed, value in enumerate((0.4, 0.8))]
    results = build_results(columns(), runs)
    assert results["methods"]["plain"]["end"]["pass@16"]["mean"] == pytest.approx(0.6)
    assert [run["seed"] for run in results["methods"]["plain"]["runs"]] == [0, 1]
    assert "2 seeds a method" in reading(results)[-1]


def test_table_fits_a_terminal_of_eighty_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(results_table(results_with(0.1, 0.02)))
    text = console.export_text()
    assert "…" not in text
    assert "SIREN" in text
    assert "entropy" in text


# --- what it is asked ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "plain", "sirene"], "plain, bonus, siren, clip_cov, kl_cov; got sirene"),
        (["--methods", "plain", "plain"], "--methods takes at least one value and each only once"),
        (["--seeds", "1", "1"], "--seeds takes at least one value and each only once"),
        (["--batches", "0"], "--batches must be at least 1, got 0"),
        (["--batches", "3"], "--evaluations 6 is more than --batches 3"),
        (["--split", "test"], "--split must be one of warmup, train, selection, heldout, got 'test'"),
        (["--puzzles", "1"], "--puzzles must be at least 2, got 1"),
        (["--prompts-per-batch", "3"], "must be a positive multiple of 2, got 3"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--warmup-steps", "1"], "at least 2 steps"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(arguments, message, tmp_path, capsys):
    assert main(["demo", "--output-dir", str(tmp_path / "out"), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_evaluations_are_spread_evenly_and_end_with_the_last_batch():
    assert DemoSettings(Path("out"), batches=100, evaluations=5).evaluation_batches == (20, 40, 60, 80, 100)
    assert DemoSettings(Path("out"), batches=7, evaluations=3).evaluation_batches == (2, 5, 7)


def test_the_commands_defaults_are_the_settings():
    arguments = vars(make_parser().parse_args(["demo"]))
    settings = DemoSettings(arguments["output_dir"])
    for name in ("batches", "evaluations", "split", "puzzles", "prompts_per_batch", "jobs", "cache_dir"):
        assert arguments[name] == getattr(settings, name), name
    assert (tuple(arguments["methods"]), tuple(arguments["seeds"])) == (settings.methods, settings.seeds)
    assert arguments["warmup_steps"] == settings.warmup.steps


def test_every_method_is_accepted_by_the_trainers_arguments(tmp_path):
    from trl_entropy import EntropyGRPOConfig
    from trl_entropy.demo.settings import TRAINING

    for arguments in METHODS.values():
        EntropyGRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **TRAINING, **arguments)


# --- all of it ---


@pytest.mark.slow
def test_a_small_demo_from_end_to_end_twice_the_same(tmp_path, capsys):
    arguments = ["--warmup-steps", "30", "--batches", "2", "--evaluations", "2", "--puzzles", "12"]
    arguments += ["--prompts-per-batch", "4", "--jobs", "2", "--cache-dir", str(tmp_path / "cache")]
    for name in ("first", "second"):
        assert main(["demo", *arguments, "--output-dir", str(tmp_path / name)]) == 0
    printed = capsys.readouterr().out
    first, second = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("first", "second"))
    first.pop("wall_seconds"), second.pop("wall_seconds")
    assert first == second
    assert first["methods"]["plain"]["runs"][0]["reward"] is not None
    assert [point["batch"] for point in first["methods"]["siren"]["path"]] == [1, 2]

    folder = tmp_path / "first"
    for file in ("demo.png", "results.json", "table.txt"):
        assert f"{folder / file}" in printed.replace("\n", "")
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "SIREN" in (folder / "table.txt").read_text()

    runs = {run.name: run for run in read_runs(folder / "runs")}  # what `trl-entropy report` reads
    assert runs["plain-seed0"].method == "plain" and runs["siren-seed0"].method == "siren"
    assert runs["siren-seed0"].token_map[0]["kept"] and len(runs["plain-seed0"].metrics["entropy"]) == 4

    model = folder / "runs" / "siren-seed0"
    card = (model / "README.md").read_text()
    assert "2509.25133" in card
    assert "siren_coef" in card
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompt = tokenizer("3 5 2 -> 17 :", return_tensors="pt")
    completion = AutoModelForCausalLM.from_pretrained(model).generate(**prompt, max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(completion[0]).startswith("3 5 2 -> 17 :")


@pytest.mark.slow
def test_a_failing_run_ends_the_demo_with_its_log(tmp_path, capsys):
    cache = tmp_path / "cache"
    arguments = ["demo", "--warmup-steps", "2", "--batches", "1", "--evaluations", "1", "--puzzles", "2"]
    arguments += ["--prompts-per-batch", "2", "--cache-dir", str(cache), "--methods", "plain"]
    out = tmp_path / "out"
    # The run cannot write its settings where a folder already stands.
    (out / "runs" / "plain-seed0" / "settings.json").mkdir(parents=True)
    assert main([*arguments, "--output-dir", str(out)]) == 1
    error = capsys.readouterr().err
    assert "plain-seed0 ended with exit status 1" in error
    assert "IsADirectoryError" in error


# --- choosing settings ---


def test_a_method_trains_with_other_arguments_when_told(tmp_path):
    changes = read_changes(["siren.siren_coef=1e-3", "siren.siren_nucleus=exclusive", "plain.num_iterations=2"])
    assert changes == {
        "siren": {"siren_coef": 0.001, "siren_nucleus": "exclusive"},
        "plain": {"num_iterations": 2},
    }
    settings = DemoSettings(tmp_path, changes=changes)
    assert settings.arguments("siren") == {"siren_coef": 0.001, "siren_nucleus": "exclusive"}
    assert settings.arguments("plain") == {"num_iterations": 2}
    specs = Demo(settings, Console()).specifications(tmp_path)
    assert [spec.arguments for spec in specs] == [settings.arguments("plain"), settings.arguments("siren")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["siren_coef=1"], "takes METHOD.ARGUMENT=VALUE"),
        (["kl_cov.kl_cov_coef=1"], "names kl_cov, which is not among --methods plain siren"),
        (["siren.siren_cof=1"], "siren_cof"),
        (["siren.siren_coef=-1"], "siren_coef=-1 is not allowed"),
    ],
)
def test_changes_that_make_no_sense_are_refused_before_the_warm_up(words, message, tmp_path, capsys):
    assert main(["demo", "--output-dir", str(tmp_path), "--set", *words]) == 2
    assert message in capsys.readouterr().err
