"""The README's ways to start several processes, each with two on CPUs, and what the training itself saw of them.

Some launches train one process without a word, so the exit code says nothing: a reward function in the working
directory writes down the world that it runs in.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.quick import published, quick

from .commands import run_to_its_end
from .jobs import free_port


pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
WATCHING = '''
import atexit, json
import torch.distributed as dist
from accelerate import PartialState

def reward(completions, **_):
    """Rewards the length, and writes down who asked."""
    state = PartialState()
    world = dist.get_world_size() if dist.is_initialized() else 1
    seen = {"world": world, "kind": str(state.distributed_type), "backend": str(state.backend), "n": len(completions)}
    with open(f"rank{state.process_index}.json", "a") as file:
        file.write(json.dumps(seen) + "\\n")
    return [float(len(text if isinstance(text, str) else text[-1]["content"])) for text in completions]

@atexit.register
def leave():
    with open(f"exit{PartialState().process_index}.json", "w") as file:
        json.dump({"group_is_open": dist.is_initialized()}, file)
'''
ON_CPU = ["--num_processes", "2", "--mixed_precision", "no"]


@pytest.fixture
def words(model, data, tmp_path):
    """A published configuration's words for a tiny run whose reward watches, all paths absolute but the reward's."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "watching.py").write_text(WATCHING)

    def make(name: str, path: Path | None = None, **more) -> list[str]:
        config = path or published(name)
        return quick(config, model, data, tmp_path / "out", reward_funcs="watching.reward", **more)

    return make


def run(tmp_path: Path, *command: str) -> str:
    """Run a command in the working directory; returns its output."""
    log = tmp_path / "log"
    run_to_its_end([sys.executable, "-m", *command], log, timeout=200, cwd=tmp_path / "work")
    return log.read_text()


def check(tmp_path: Path, prompts: int = 4) -> None:
    """Two processes shared the rollout, trained one model, and left no process group that could abort at exit."""
    seen = {path.name: path.read_text().splitlines() for path in (tmp_path / "work").glob("rank*.json")}
    expected = {"world": 2, "kind": "DistributedType.MULTI_CPU", "backend": "gloo", "n": 4 * prompts // 2}
    assert {name: [json.loads(line) for line in lines] for name, lines in seen.items()} == {
        "rank0.json": [expected],
        "rank1.json": [expected],
    }
    left = {path.name: json.loads(path.read_text()) for path in (tmp_path / "work").glob("exit*.json")}
    assert left == {f"exit{rank}.json": {"group_is_open": False} for rank in (0, 1)}
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["global_step"] == 1
    assert any("siren/entropy" in row for row in state["log_history"])


def test_trl_entropy_grpo_with_multi_gpu(words, tmp_path):
    given = words("siren_lora_colab")
    launch = ["--accelerate_config", "multi_gpu", *ON_CPU, "--main_process_port", str(free_port())]
    said = run(tmp_path, "trl_entropy.cli", "grpo", *given, *launch)
    check(tmp_path)
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert "has no effect" not in said


def test_trl_entropy_grpo_with_the_launch_in_the_file(words, tmp_path):
    """As `configs/siren.yaml` has it."""
    config, text = tmp_path / "run.yaml", published("siren").read_text()
    theirs, ours = "num_processes: 8\naccelerate_config: zero3\n", "num_processes: 2\naccelerate_config: multi_gpu\n"
    assert theirs in text
    text = text.replace(theirs, f"{ours}mixed_precision: no\nmain_process_port: {free_port()}\n")
    config.write_text(text)
    run(tmp_path, "trl_entropy.cli", "grpo", *words("siren", config))
    check(tmp_path, prompts=2)


def test_accelerate_launch_with_our_file_and_script(words, tmp_path):
    launch = ["--config_file", str(ROOT / "configs" / "accelerate" / "multi_gpu.yaml"), *ON_CPU]
    launch += ["--main_process_port", str(free_port()), str(ROOT / "scripts" / "train_grpo.py")]
    run(tmp_path, "accelerate.commands.launch", *launch, *words("siren"))
    check(tmp_path, prompts=2)


def test_a_launch_that_starts_one_process_says_so(words, tmp_path):
    said = run(tmp_path, "trl_entropy.cli", "grpo", *words("siren"), "--accelerate_config", "single_gpu", *ON_CPU)
    assert [path.name for path in (tmp_path / "work").glob("rank*.json")] == ["rank0.json"]
    assert said.count("num_processes=2 has no effect: 1 process(es) were started") == 1


def test_what_two_processes_refuse_is_one_line(words, tmp_path):
    launch = ["--accelerate_config", "multi_gpu", *ON_CPU, "--main_process_port", str(free_port())]
    with pytest.raises(AssertionError, match="ended with 1:") as refused:
        run(tmp_path, "trl_entropy.cli", "grpo", *words("siren", dataset_name="missing.jsonl"), *launch)
    said = [line for line in str(refused.value).splitlines() if line.startswith("trl-entropy: ")]
    assert said[0].startswith("trl-entropy: dataset_name='missing.jsonl' looks like a file, but there is none.")
    assert said[1:] == ["trl-entropy: rank 0 was the first to end, with exit code 1; what it said is above."] or (
        said[1:] == ["trl-entropy: rank 1 was the first to end, with exit code 1; what it said is above."]
    )
    assert "Traceback" not in str(refused.value)
