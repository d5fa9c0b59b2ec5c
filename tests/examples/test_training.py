"""Every configs/example_*.yaml trains a step on a tiny model of its kind, from the script that users run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset, Features, Image, Value
from PIL import Image as Picture
from trl import GRPOTrainer

from trl_entropy import EntropyGRPOTrainer
from trl_entropy.examples.tools import calculator
from trl_entropy.script import train

from .tiny import byte_tokenizer, save_chat_model, save_vision_model


pytestmark = pytest.mark.slow


CONFIGS = Path(__file__).parents[2] / "configs"
# What a tiny model on a CPU needs instead of a real one on a GPU
SMALL = {
    "dtype": "float32",
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
    "max_steps": 2,
    "learning_rate": 1e-3,
    "num_generations": 4,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 2,
    "max_completion_length": 8,
}
Train = Callable[..., Path]


@pytest.fixture
def train_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train configs/NAME.yaml with some settings exchanged; returns the run's folder."""
    monkeypatch.chdir(CONFIGS.parent)

    def run(name: str, **overrides) -> Path:
        settings = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        settings |= {**SMALL, "output_dir": str(tmp_path / "out"), **overrides}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
        train.main(["--config", str(tmp_path / "config.yaml")])
        return Path(settings["output_dir"])

    return run


def log(folder: Path, key: str) -> list[float]:
    rows = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [row[key] for row in rows if key in row]


def questions(path: Path, **columns) -> str:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_math_with_a_base_model(train_example: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = questions(tmp_path / "math.jsonl", prompt=["1 + 1 = ", "2 + 3 = "] * 4, solution=["2", "5"] * 4)
    asked = []
    generate = GRPOTrainer._generate
    monkeypatch.setattr(
        GRPOTrainer, "_generate", lambda self, prompts: asked.extend(prompts) or generate(self, prompts)
    )
    model = save_chat_model(tmp_path / "model")  # Qwen2.5's base models ship a chat template, too
    folder = train_example("example_math_base", model_name_or_path=str(model), dataset_name=data)
    assert len(log(folder, "siren/anchor")) == 2
    assert log(folder, "reward") == [0.0]
    assert {prompt[0]["content"] for prompt in asked} == {
        "Please reason step by step, and put your final answer within \\boxed{}."
    }
    assert {prompt[1]["role"] for prompt in asked} == {"user"}


def test_code_from_the_shipped_file(train_example: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    graded = []
    from trl_entropy.examples import code

    reward = code.passes_tests
    monkeypatch.setattr(code, "passes_tests", lambda **kw: graded.extend(kw["tests"]) or reward(**kw))
    folder = train_example("example_code", model_name_or_path=str(save_chat_model(tmp_path / "model")))
    assert len(log(folder, "cov/selected_share")) == 1
    assert log(folder, "reward") == [0.0]
    assert len(graded) == 8
    assert all(test.startswith("assert ") for tests in graded for test in tests)


def test_an_agent_calls_its_tool(train_example: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The tiny model cannot write a call by chance, so the first turn is written for it; everything after is real."""
    data = questions(
        tmp_path / "sums.jsonl", question=["17 times 3?", "4 plus 5?"] * 4, answer=["a #### 51", "b #### 9"] * 4
    )
    tokenizer = byte_tokenizer("qwen3")
    call = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "17 * 3"}}\n</tool_call><|im_end|>'
    called = tokenizer(call).input_ids
    generate, turns = GRPOTrainer._generate_single_turn, []

    def first_turn_calls(trainer, *args, **kwargs):
        completion_ids, logps = generate(trainer, *args, **kwargs)
        turns.append(len(completion_ids))
        return [list(called) for _ in completion_ids] if len(turns) % 2 else completion_ids, logps

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", first_turn_calls)
    folder = train_example(
        "example_tools",
        model_name_or_path=str(save_chat_model(tmp_path / "model")),
        dataset_name=data,
        dataset_config=None,
        max_completion_length=len(called) + 80,
    )
    assert log(folder, "tools/call_frequency") == [1.0]
    assert log(folder, "tools/failure_frequency") == [0.0]
    assert turns == [8, 8]  # the call, and the answer after the tool's
    assert len(log(folder, "siren/anchor")) == 2
    assert calculator("17 * 3") == "51"


def test_an_unknown_tool_is_refused(train_example: Train, tmp_path: Path):
    data = questions(tmp_path / "sums.jsonl", question=["1?"], answer=["#### 1"])
    with pytest.raises(SystemExit, match=r"tools: 'trl_entropy\.examples\.tools\.abacus' could not be imported"):
        train_example(
            "example_tools", dataset_name=data, dataset_config=None, tools=["trl_entropy.examples.tools.abacus"]
        )


def pictures(path: Path, colors: list[str]) -> str:
    features = Features({"problem": Value("string"), "solution": Value("string"), "image": Image()})
    images = [Picture.new("RGB", (28, 28), color) for color in colors]
    rows = {"problem": ["What colour?"] * len(colors), "solution": colors, "image": images}
    Dataset.from_dict(rows, features=features).to_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    "method",
    [{"siren_coef": 0.1}, {"siren_coef": 0.0, "clip_cov_ratio": 0.1}, {"siren_coef": 0.0, "kl_cov_ratio": 0.1}],
    ids=["siren", "clip_cov", "kl_cov"],
)
def test_a_vision_language_model(train_example: Train, tmp_path: Path, method: dict):
    model = str(save_vision_model(tmp_path / "model"))
    entropies = []
    for colors in (["red", "blue"] * 4, ["white", "black"] * 4):
        data = pictures(tmp_path / f"{colors[0]}.parquet", colors)
        folder = train_example("example_vision", model_name_or_path=model, dataset_name=data, **method)
        entropies.append(log(folder, "entropy"))
        assert log(folder, "siren/anchor" if "kl_cov_ratio" not in method and method["siren_coef"] else "cov/mean")
    assert entropies[0] != entropies[1]  # the pictures reach the model
    card = (folder / "README.md").read_text()
    assert "AutoModelForImageTextToText" in card
    assert "AutoProcessor" in card


def test_clip_cov_scores_pictures_on_policy_too(train_example: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Strictly on-policy TRL takes no log-probabilities at scoring time; ours must see the pictures."""
    score, seen = EntropyGRPOTrainer.score, []

    def scored_twice(trainer, output):
        scored, other = score(trainer, output), score(trainer, {**output, "pixel_values": -output["pixel_values"]})
        seen.append(not torch.equal(scored["logps"], other["logps"]))
        return scored

    monkeypatch.setattr(EntropyGRPOTrainer, "score", scored_twice)
    model, data = str(save_vision_model(tmp_path / "model")), pictures(tmp_path / "p.parquet", ["red", "blue"] * 4)
    folder = train_example(
        "example_vision",
        model_name_or_path=model,
        dataset_name=data,
        siren_coef=0.0,
        clip_cov_ratio=0.2,
        clip_cov_low=-10.0,
        clip_cov_high=10.0,
        steps_per_generation=1,
    )
    assert seen == [True, True]
    assert all(0 < share <= 0.25 for share in log(folder, "cov/selected_share"))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
