"""The lm-eval tasks: their functions here, the whole harness on a tiny model where lm-eval is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy.evaluate.benchmarks import BENCHMARKS
from trl_entropy.evaluate.lm_eval_tasks import answers as grading


FOLDER = Path(grading.__file__).parent


def test_the_harness_gets_the_figures_of_the_grader():
    doc = {"problem": "What is half of one?", "answer": r"\frac{1}{2}"}
    assert grading.doc_to_text(doc).startswith("What is half of one?\nPlease reason")
    texts = [r"\boxed{0.5}", r"\boxed{\frac12}", r"\boxed{2}", "no"]
    assert grading.process_results(doc, [texts]) == {
        "avg_at_n": 0.5,
        "pass_at_n": 1.0,
        "maj_at_n": 1.0,
        "distinct_answers": 2.0,
    }
    with pytest.raises(ValueError, match="none of the columns"):
        grading.doc_to_text({"text": "x"})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("trl_entropy_*.yaml")), ids=lambda path: path.stem)
def test_the_tasks_ask_for_the_benchmarks_data_and_samples(path):
    task = yaml.safe_load(path.read_text())
    benchmark = BENCHMARKS[path.stem.removeprefix("trl_entropy_")]
    shared = yaml.safe_load((FOLDER / "_math.yaml").read_text().replace("!function ", ""))
    merged = {**shared, **task}
    assert task["task"] == path.stem
    assert (merged["dataset_path"], merged["test_split"]) == (benchmark.hub_id, benchmark.split)
    assert merged["repeats"] == merged["filter_list"][0]["filter"][0]["k"] == benchmark.n
    assert merged["generation_kwargs"]["temperature"] == benchmark.temperature
    neutral = {"top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}  # unset, the model's own would decide
    assert neutral.items() <= merged["generation_kwargs"].items()
    assert merged["generation_kwargs"]["max_gen_toks"] == benchmark.max_new_tokens


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed: pip install -e '.[lm-eval]'"
)
def test_lm_eval_runs_the_task_on_a_tiny_model(tmp_path):
    for part in (tiny_model(), tiny_tokenizer()):
        part.save_pretrained(tmp_path / "model")
    rows = [{"problem": "a b", "answer": "1"}, {"problem": "c d", "answer": "2"}]
    (tmp_path / "data.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "include": str(FOLDER / "trl_entropy_math500.yaml"),
        "task": "tiny",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "data.json")}},
        "generation_kwargs": {"until": [], "do_sample": True, "temperature": 1.0, "max_gen_toks": 8},
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tiny.yaml").write_text(yaml.safe_dump(task))
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--tasks", "tiny"]
    command += ["--model_args", f"pretrained={tmp_path / 'model'}", "--include_path", str(tmp_path / "tasks")]
    command += ["--batch_size", "4", "--output_path", str(tmp_path / "out"), "--log_samples"]
    subprocess.run(command, check=True, timeout=300)
    found = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text())["results"]["tiny"]
    assert {"avg_at_n,all_samples", "pass_at_n,all_samples", "maj_at_n,all_samples"} <= set(found)
    samples = next((tmp_path / "out").rglob("samples_tiny_*.jsonl")).read_text().splitlines()
    assert [len(json.loads(line)["filtered_resps"][0]) for line in samples] == [8, 8]
