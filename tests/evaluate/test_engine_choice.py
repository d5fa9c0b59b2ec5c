"""`--engine auto`: vLLM where it is installed and a GPU is there, transformers everywhere else."""

import argparse
import importlib.util
import json

import pytest
import torch

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.commands import eval as command
from trl_entropy.evaluate import vllm_engine
from trl_entropy.evaluate.sampling import Completion
from trl_entropy.evaluate.vllm_engine import vllm_is_usable


@pytest.fixture
def machine(monkeypatch):
    """Make this machine one with or without vLLM and a GPU."""
    found = importlib.util.find_spec

    def become(vllm: bool, gpu: bool) -> None:
        spec = found("json") if vllm else None
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: spec if name == "vllm" else found(name, *a))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    return become


def chosen(*words: str) -> str:
    return command._engine_name(parsed("--model", "m", *words))


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    return parser.parse_args(["eval", *words])


@pytest.mark.parametrize(
    ("vllm", "gpu", "name"),
    [
        (True, True, "vllm"),
        (True, False, "transformers"),
        (False, True, "transformers"),
        (False, False, "transformers"),
    ],
)
def test_auto_needs_both_vllm_and_a_gpu(machine, vllm, gpu, name):
    machine(vllm, gpu)
    assert vllm_is_usable() == (name == "vllm")
    assert chosen() == chosen("--engine", "auto") == name
    assert chosen("--engine", "transformers") == "transformers"
    if name == "vllm":
        assert chosen("--engine", "vllm") == "vllm"
    else:
        with pytest.raises(ValueError, match=r"needs vLLM .* and a CUDA device"):
            chosen("--engine", "vllm")


def test_a_device_is_obeyed_and_only_transformers_can(machine):
    machine(vllm=True, gpu=True)
    assert chosen("--device", "cpu") == "transformers"
    with pytest.raises(ValueError, match="--device cpu has no effect on --engine vllm"):
        chosen("--engine", "vllm", "--device", "cpu")


class RecordedEngine:
    """In vLLM's place: says who was asked for which model."""

    name = "vllm"

    def __init__(self, model, **options):
        self.asked = options

    def lengths(self, prompts):
        return [1] * len(prompts)

    def generate(self, prompts, sampling, seeds):
        assert self.asked["tensor_parallel_size"] == 2
        return [Completion("from vllm", 2, False, None) for _ in prompts]


@pytest.mark.parametrize(("usable", "name", "batch"), [(True, "vllm", 4096), (False, "transformers", 64)])
def test_the_engine_that_auto_chose_draws_the_samples(monkeypatch, tmp_path, usable, name, batch):
    monkeypatch.setattr(vllm_engine, "vllm_is_usable", lambda: usable)
    monkeypatch.setattr(vllm_engine, "VLLMEngine", RecordedEngine)
    for part in (tiny_model(), tiny_tokenizer()):
        part.save_pretrained(tmp_path / "model")
    (tmp_path / "own.jsonl").write_text(json.dumps({"question": "a b", "answer": "1"}) + "\n")
    words = ["--model", tmp_path / "model", "--dataset", tmp_path / "own.jsonl", "--output-dir", tmp_path / "out"]
    words += ["--n", "2", "--max-new-tokens", "4", "--tensor-parallel-size", "2", "--chat", "never", "--quiet"]
    args = parsed(*map(str, words))
    assert args.run(args) == 0
    settings = json.loads((tmp_path / "out" / "results.json").read_text())["settings"]
    assert (settings["engine"], settings["batch_size"]) == (name, batch)
    (samples,) = (tmp_path / "out").glob("*/own/seed-0/samples.jsonl")
    texts = [json.loads(line).get("text") for line in samples.read_text().splitlines()]
    assert ("from vllm" in texts) == usable
