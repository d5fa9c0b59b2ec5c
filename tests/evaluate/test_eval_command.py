"""`trl-entropy eval` from its arguments to its files."""

import argparse
import json
import os
import re
import shutil
import sys
import types

import numpy
import pandas
import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.commands import eval as command
from trl_entropy.evaluate import models, transformers_engine
from trl_entropy.evaluate import outputs as results
from trl_entropy.evaluate.sampling import Completion
from trl_entropy.evaluate.transformers_engine import adapter_base, load_transformers


QUICK = ["--engine", "transformers", "--device", "cpu", "--quiet", "--max-new-tokens", "8", "--chat", "never"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for seed in (0, 1):
        for part in (tiny_model(seed), tiny_tokenizer()):
            part.save_pretrained(root / f"run-{seed}" / "checkpoint-20")
    rows = [{"question": q, "answer": str(i)} for i, q in enumerate(["a b", "c d e", "f", "g h i j", "k l"])]
    (root / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    args = parser.parse_args(["eval", *map(str, arguments)])
    return args.run(args)


def two_models(folder):
    return [
        "--model",
        folder / "run-0/checkpoint-20",
        folder / "run-1/checkpoint-20",
        "--dataset",
        folder / "own.jsonl",
    ]


def test_two_models_two_seeds(folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [*two_models(folder), "--n", 4, "--k", 1, 4, "--temperature", 1, "--seed", 0, 1, "--output-dir", out]
    assert run(*arguments, *QUICK) == 0
    found = json.loads((out / "results.json").read_text())
    assert found["settings"]["engine"] == "transformers"
    assert {"python", "torch", "transformers", "math-verify"} <= set(found["versions"])
    assert [(r["seed"], len(r["problems"])) for r in found["runs"]] == [(0, 5), (1, 5)] * 2
    assert {"id", "gold", "n", "c", "verdicts", "pass@4", "entropy"} <= set(found["runs"][0]["problems"][0])
    assert [g["name"] for g in found["figures"]] == ["run-0/checkpoint-20", "run-1/checkpoint-20"]
    for name, figure in found["figures"][0]["figures"].items():
        per_seed = [run["figures"][name]["mean"] for run in found["runs"][:2]]
        if name != "entropy":  # a mean over tokens, of which a seed may have more
            assert figure["mean"] == pytest.approx(sum(per_seed) / 2)
        assert figure["low"] <= figure["mean"] + 1e-12
    entropy = next(row for row in found["comparisons"] if row["figure"] == "entropy")
    means = [group["figures"]["entropy"]["mean"] for group in found["figures"]]
    assert entropy["difference"] == pytest.approx(means[1] - means[0])
    assert entropy["baseline"] == "run-0/checkpoint-20"
    assert 0 < entropy["p"] <= 1

    samples = pandas.read_parquet(next(out.glob("*run-0*/own/seed-1/samples.parquet")))
    assert len(samples) == 20
    assert set(samples["verdict"]) <= {"no_answer", "different", "equal", "unparsed"}
    table = (out / "results.md").read_text()
    assert "| model | benchmark | seeds | avg@4 | pass@1 | pass@4 | mg-pass@4 | maj@4 |" in table
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert {"pass@1, %", "pass@4, %", "maj@4, %", "entropy (nats)", "against"} <= set(
        re.split(r"\s{2,}|[│┃]\s*", shown)
    )
    assert "p (paired)" in table
    assert (out / "pass_at_k.png").stat().st_size > 5_000
    points = [json.loads(line) for line in (out / "entropy_reward.jsonl").read_text().splitlines()]
    assert [(p["step"], p["run"].split("/")[-1], p["seeds"]) for p in points] == [
        (20, "run-0 own", [0, 1]),
        (20, "run-1 own", [0, 1]),
    ]
    assert [p["entropy"] for p in points] == pytest.approx(means)
    tokens, sums = 0, 0.0
    for path in out.glob("*run-0*/own/seed-*/samples.parquet"):
        frame = pandas.read_parquet(path)
        tokens, sums = tokens + frame["tokens"].sum(), sums + (frame["tokens"] * frame["entropy"]).sum()
    assert points[0]["entropy"] == pytest.approx(sums / tokens)  # a token counts alike in every sample, problem, seed

    def no_model(*_, **__):
        raise AssertionError("a finished evaluation loads no model")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine, "load_transformers", no_model)
        assert run(*arguments, *QUICK) == 0
    assert json.loads((out / "results.json").read_text())["figures"] == found["figures"]
    with pytest.raises(ValueError, match=r"other settings.*temperature: 1.0 there, 0.5 now"):
        run(*arguments, *QUICK, "--temperature", 0.5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--benchmark", "aime"], "no benchmark named 'aime'"),
        ([], "Say what to evaluate on"),
        (["--benchmark", "countdown", "--n", 4, "--k", 8], r"1\.\.n = 4"),
        (["--benchmark", "countdown", "--temperature", 0], "greedy"),
        (["--benchmark", "countdown", "--batch-size", 0], "batch-size"),
        (["--benchmark", "countdown", "--prompt", "no place"], "has no {problem}"),
        (["--benchmark", "countdown", "--prompt", "{problem} {"], "is no template"),
        (["--benchmark", "countdown", "math500", "--dataset", "x.json"], "replaces the data of one"),
        (["--dataset", "missing.jsonl"], "no file missing.jsonl"),
        (["--dataset", "OWN", "--answer-column", "gold"], "--answer-column"),
        (["--benchmark", "countdown", "--output-dir", "OWN"], "is a file"),
        (["--benchmark", "countdown", "--output-dir", "OWN/x/y"], "is a file"),
        (["--benchmark", "countdown", "--dtype", "foo"], "--dtype 'foo'.*float32"),
        (["--benchmark", "countdown", "--device", "cuda:99"], "--device 'cuda:99' cannot be used.*cpu"),
        (["--benchmark", "countdown", "--device", "foo"], "--device 'foo' cannot be used"),
        (["--benchmark", "countdown", "--temperature", "nan"], "temperature must be 0"),
        (["--benchmark", "countdown", "--temperature", "inf"], "temperature must be 0"),
        (["--benchmark", "countdown", "--engine", "vllm"], "needs vLLM"),
    ],
)
def test_bad_input_is_refused_before_a_model_is_loaded(folder, tmp_path, monkeypatch, arguments, word):
    monkeypatch.setattr(transformers_engine, "load_transformers", None)
    monkeypatch.chdir(tmp_path)
    own = [str(a).replace("OWN", str(folder / "own.jsonl")) for a in arguments]
    engine = [] if "--engine" in arguments else ["--engine", "transformers"]
    with pytest.raises((ValueError, FileNotFoundError), match=word):
        run("--model", folder / "run-0/checkpoint-20", *engine, *own)
    assert not list(tmp_path.iterdir())


def test_bad_models_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"neither config\.json"):
        models.check_model(str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="no folder"):
        models.check_model("./nothing")
    with pytest.raises(FileNotFoundError, match="no folder"):
        models.check_model("runs/grpo/checkpoint-10")
    with pytest.raises(ValueError, match="possible Hub id"):
        models.check_model("a b")
    models.check_model("Qwen/Qwen2.5-0.5B")


def test_adapters_load_with_their_base(folder, tmp_path):
    base = folder / "run-0" / "checkpoint-20"
    torch.manual_seed(5)
    adapter = get_peft_model(tiny_model(0), LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False))
    adapter.peft_config["default"].base_model_name_or_path = str(base)
    adapter.save_pretrained(tmp_path)
    assert adapter_base(str(base)) is None
    assert adapter_base(str(tmp_path)) == str(base)
    engine = load_transformers(str(tmp_path), device="cpu", chat="never")
    ids = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(engine.model(ids).logits, adapter(ids).logits, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(engine.model(ids).logits, tiny_model(0)(ids).logits)


def test_vllm_is_asked_as_it_wants_to_be(folder, monkeypatch):
    """A stand-in for vLLM's interface: what the engine sends and how it reads the answer."""
    sent = {}

    class LLM:
        def __init__(self, **options):
            sent["options"] = options

        def get_tokenizer(self):
            return tiny_tokenizer()

        def generate(self, requests, parameters, lora_request=None, use_tqdm=True):
            sent["requests"], sent["parameters"] = requests, parameters
            step = {7: types.SimpleNamespace(logprob=-0.5), 9: types.SimpleNamespace(logprob=-9.0)}
            logprobs = [step, step] if parameters[0].logprobs is not None else None
            output = types.SimpleNamespace(text="x", token_ids=[7, 7], finish_reason="length", logprobs=logprobs)
            return [types.SimpleNamespace(outputs=[output]) for _ in requests]

    fake = types.ModuleType("vllm")
    fake.LLM, fake.SamplingParams = LLM, types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", fake)
    from trl_entropy.evaluate.sampling import Sampling
    from trl_entropy.evaluate.vllm_engine import VLLMEngine

    engine = VLLMEngine(str(folder / "run-0/checkpoint-20"), chat="never", tensor_parallel_size=2)
    assert sent["options"]["tensor_parallel_size"] == 2
    assert engine.lengths(["a b", "c"]) == [2, 1]
    first, _ = engine.generate(["a b", "c"], Sampling(n=1, temperature=1.0, max_new_tokens=2), [11, 12])
    assert sent["requests"] == [{"prompt_token_ids": [3, 4]}, {"prompt_token_ids": [5]}]
    assert [p.seed for p in sent["parameters"]] == [11, 12]
    assert (first.text, first.tokens, first.truncated, first.entropy) == ("x", 2, True, 0.5)
    [other] = engine.generate(["a"], Sampling(n=1, temperature=0.6, max_new_tokens=2), [1])
    assert other.entropy is None


@pytest.mark.parametrize(("ranks", "expected"), [((4, {}), 8), ((16, {}), 16), ((12, {}), 16), ((8, {"q": 200}), 256)])
def test_vllm_is_told_a_rank_that_it_takes(ranks, expected):
    from trl_entropy.evaluate.vllm_engine import lora_rank

    assert lora_rank(LoraConfig(r=ranks[0], rank_pattern=ranks[1])) == expected


def test_law_points_read_as_the_law_reads_them(folder, tmp_path):
    from trl_entropy.evaluate.run import Evaluation
    from trl_entropy.law.points import law_of_run
    from trl_entropy.runlog import read_runs

    def figures(reward, *entropy_and_tokens):
        entropy, tokens = numpy.array(entropy_and_tokens, dtype=float).T
        return {"avg@2": numpy.array([0.0, reward]), "tokens": tokens, "entropy": entropy}

    several = [
        Evaluation(f"{run}/checkpoint-{s}", "own", seed, [], [], [], figures(1.0 - seed, (0.5, 10), (0.7 + seed, 30)))
        for run in ("grpo", "siren")
        for s in (10, 20)
        for seed in (0, 1)
    ]
    rows = results.law_rows(several)
    assert [(r["run"], r["step"], r["reward"]) for r in rows] == [
        ("grpo own", 10, 0.25), ("grpo own", 20, 0.25), ("siren own", 10, 0.25), ("siren own", 20, 0.25),
    ]  # fmt: skip
    pooled = (2 * 0.5 * 10 + 0.7 * 30 + 1.7 * 30) / 80  # both seeds' tokens
    assert [r["entropy"] for r in rows] == pytest.approx([pooled] * 4)
    points = tmp_path / "grpo" / "entropy_reward.jsonl"
    points.parent.mkdir()
    points.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(run.name, run.metrics["entropy"].steps) for run in read_runs(points)] == [
        ("grpo own", [10, 20]), ("siren own", [10, 20]),
    ]  # fmt: skip
    assert [run.name for run in read_runs(points.parent)] == ["grpo own", "siren own"]  # nothing else in the folder
    (points.parent / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    [run] = read_runs(points.parent)
    assert "'grpo own' is used" in str(run.problems[0])
    law = law_of_run(run)  # two points, but the training log has none
    assert (law.fit.points, law.source) == (
        2, "law_pairs/entropy and law_pairs/reward (no entropy and no reward in the training log)",
    )  # fmt: skip


def test_a_damaged_or_unknown_model_is_one_line(folder, tmp_path, monkeypatch):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((folder / "run-0/checkpoint-20/config.json").read_text())
    arguments = ["--dataset", folder / "own.jsonl", "--n", 1, "--output-dir", tmp_path / "out", *QUICK]
    for model in (tmp_path / "bare", "nobody/nothing"):
        with pytest.raises(ValueError, match="cannot be loaded") as raised:
            run("--model", model, *arguments)
        assert "\n" not in str(raised.value)


def test_other_prompts_or_another_training_are_not_taken_for_the_old_ones(folder, tmp_path, capsys):
    model, own = tmp_path / "model", tmp_path / "own.jsonl"
    shutil.copytree(folder / "run-0/checkpoint-20", model)
    own.write_text((folder / "own.jsonl").read_text())
    arguments = ["--model", model, "--dataset", own, "--n", 2, "--output-dir", tmp_path / "out", *QUICK]
    assert run(*arguments) == 0
    first = json.loads((tmp_path / "out" / "results.json").read_text())["figures"]
    (model / "metrics.jsonl").write_text("{}")  # a log beside the model decides nothing
    os.utime(model / "model.safetensors")
    own.write_text(own.read_text().replace('"answer": "0"', '"answer": "9"'))
    assert run(*arguments) == 0  # another gold is graded again, on the same samples

    own.write_text(own.read_text().replace("a b", "b a"))
    with pytest.raises(ValueError, match="problems_sha256"):
        run(*arguments)
    own.write_text((folder / "own.jsonl").read_text())
    shutil.copy(folder / "run-1/checkpoint-20/model.safetensors", model)
    with pytest.raises(ValueError, match="model_sha256"):
        run(*arguments)
    assert run(*arguments, "--overwrite") == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["figures"] != first
    samples = next((tmp_path / "out").glob("*/own/seed-0/samples.jsonl"))
    before = samples.stat().st_mtime_ns
    assert run(*arguments, "--overwrite") == 0  # same settings: drawn again all the same
    assert samples.stat().st_mtime_ns > before


def test_a_large_file_is_fingerprinted_in_all_its_parts(tmp_path):
    path, size = tmp_path / "model.safetensors", 40 << 20
    path.write_bytes(bytes(size))
    prints = {models.fingerprint(str(tmp_path))}
    for place in (0, size // 3, size - 70_000):
        content = bytearray(size)
        content[place : place + 65_536] = b"x" * 65_536
        path.write_bytes(content)
        prints.add(models.fingerprint(str(tmp_path)))
    assert len(prints) == 4
    assert models.fingerprint("Qwen/Qwen2.5-0.5B") is None


@pytest.mark.parametrize("runs", [[{"model": "b", "benchmark": "own", "seed": 0}], [{"model": "x"}], 3])
def test_results_of_others_are_not_overwritten(folder, tmp_path, runs):
    out = tmp_path / "out"
    out.mkdir()
    before = json.dumps({"runs": runs})
    (out / "results.json").write_text(before)
    own = ["--dataset", folder / "own.jsonl", "--n", 1, "--output-dir", out, *QUICK]
    with pytest.raises(ValueError, match=str(out)):
        run("--model", folder / "run-0/checkpoint-20", *own)
    assert (out / "results.json").read_text() == before


def test_the_same_and_more_may_be_evaluated_again(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"runs": [{"model": "a", "benchmark": "b", "seed": 0}]}))
    command._check_earlier(tmp_path, {("a", "b", 0), ("a", "c", 0)})
    command._check_earlier(tmp_path / "new", {("a", "b", 1)})
    with pytest.raises(ValueError, match="seed 0"):
        command._check_earlier(tmp_path, {("a", "b", 1)})


def test_unreadable_golds_are_named(folder, tmp_path, capsys):
    from trl_entropy.evaluate.problems import Problem
    from trl_entropy.evaluate.run import Evaluation
    from trl_entropy.evaluate.verdicts import Grade

    problems = [Problem("0:x", "?", "?!"), Problem("1:y", "?", "1")]
    grades = [[Grade("1", "unparsed_gold", False, "text 1")], [Grade("1", "equal", True, "right")]]
    evaluation = Evaluation("m", "own", 0, problems, [[], []], grades, {"avg@1": numpy.array([0.0, 1.0])})
    assert evaluation.unreadable_golds == ["0:x"]
    [row] = results.results([evaluation], {})["runs"]
    assert row["unreadable_golds"] == {"share": 0.5, "problems": ["0:x"]}
    (tmp_path / "own.jsonl").write_text(json.dumps({"question": "a", "answer": "x" * 3000}) + "\n")
    texts = lambda *_: [Completion(r"\boxed{1}", 3, False, 0.5)]  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers_engine.TransformersEngine, "generate", texts)
        out = tmp_path / "out"
        quick = [option for option in QUICK if option != "--quiet"]
        run(
            "--model",
            folder / "run-0/checkpoint-20",
            "--dataset",
            tmp_path / "own.jsonl",
            "--n",
            1,
            "--output-dir",
            out,
            *quick,
        )
    assert "the gold answer of 1 of 1 problems cannot be read" in capsys.readouterr().err


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "--max-new-tokens" in text
