"""The command line: every configuration trains one step on a tiny model; bad input is refused in one line."""

import json

import pytest
import yaml
from datasets import Dataset

from tests.quick import CONFIGS, published, quick
from trl_entropy import EntropyGRPOConfig, cli
from trl_entropy.doctor import examine, read_plan
from trl_entropy.methods import METHODS, Method, methods_on
from trl_entropy.methods.base import defaults
from trl_entropy.plan.configuration import FOLDER, shipped
from trl_entropy.script import train
from trl_entropy.script.arguments import refuse_unknown_arguments
from trl_entropy.script.data import ColumnArguments, load_splits, to_prompts
from trl_entropy.script.launch import accelerate_config_file, split_arguments


PUBLISHED = ["grpo", "naive_bonus", "siren", "siren_official", "clip_cov", "kl_cov", "siren_lora_colab"]


def test_all_published_configs_are_there():
    assert set(PUBLISHED) <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.slow
def test_config_trains_one_step(name, model, data, tmp_path):
    path = published(name)
    assert path.read_text().startswith("# "), "opens with a comment on source and cost"
    assert "# Source:" in path.read_text()
    assert "# Cost:" in path.read_text()
    train.main(quick(path, model, data, tmp_path / "out"))
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["global_step"] == 1
    keys = {key for row in state["log_history"] for key in row}
    assert ("siren/entropy" in keys) == name.startswith("siren")
    assert ("cov/selected_share" in keys) == (name in ("clip_cov", "kl_cov"))
    saved = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "trainer_state.json"} <= saved
    assert {"model.safetensors", "adapter_model.safetensors"} & saved


def test_the_published_settings_are_the_papers():
    def content(name: str) -> dict:
        return yaml.safe_load(published(name).read_text())

    for name in ("siren", "siren_official"):
        found = {
            k: content(name)[k]
            for k in ("siren_coef", "siren_top_p", "siren_quantile", "loss_type", "max_completion_length")
        }
        assert found == {
            "siren_coef": 0.005, "siren_top_p": 0.8, "siren_quantile": 0.8, "loss_type": "dr_grpo",
            "max_completion_length": 3072,
        }  # fmt: skip
    official = content("siren_official")
    assert (official["siren_nucleus"], official["entropy_scope"]) == ("exclusive", "micro_batch")
    clip, kl = content("clip_cov"), content("kl_cov")
    assert (clip["clip_cov_ratio"], clip["clip_cov_low"], clip["clip_cov_high"], clip["epsilon"]) == (2e-4, 1, 5, 1.0)
    assert (kl["kl_cov_ratio"], kl["kl_cov_coef"]) == (2e-3, 1.0)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("methods/*.yaml")), ids=lambda path: path.stem)
def test_a_methods_file_is_accepted_and_differs_in_its_own_settings(path, capsys):
    assert cli.main(["doctor", str(path)]) == 0
    plan = read_plan(str(path), elsewhere=True)
    assert examine(plan).problems == []
    assert [m.key for m in methods_on(plan.args)] == [m.key for m in METHODS if m.key == path.stem]
    content = yaml.safe_load(path.read_text())
    common = yaml.safe_load((FOLDER / "methods" / "entropy_adv.yaml").read_text())
    differs = {name for name in common if content.get(name) != common[name]} - {"output_dir"}
    knobs = {"strictly_on_policy": {"steps_per_generation"}, "slower_learning_rate": {"learning_rate"}}
    own = defaults(EntropyGRPOConfig).keys() & {name for name in common if name.startswith("entropy_adv_")}
    assert differs - own == knobs.get(path.stem, set())
    assert content["output_dir"] == f"outputs/{path.stem}"
    assert plan.args.strictly_on_policy == (path.stem == "strictly_on_policy")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_every_method_has_a_file_with_its_papers_values(method: type[Method]):
    content, own = yaml.safe_load(shipped()[method.key].read_text()), defaults(method.Arguments)
    assert method.switch in content
    for name, value in method.published.items():
        if name in own:
            assert content.get(name, own[name]) == value, name


@pytest.mark.slow
def test_launched_as_a_user_would(model, data, tmp_path):
    """`trl-entropy grpo` through accelerate's launcher, with a launcher argument in the YAML file."""
    config = tmp_path / "run.yaml"
    path = published("siren")
    text = path.read_text().replace("accelerate_config: zero3", "accelerate_config: single_gpu")
    config.write_text(text.replace("num_processes: 8", "num_processes: 1"))
    given = quick(config, model, data, tmp_path / "out")
    assert cli.main(["grpo", *given, "--mixed_precision", "no"]) == 0
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_launcher_arguments_are_taken_from_both_places(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("siren_coef: 0.1\nnum_processes: 2\naccelerate_config: multi_gpu\n")
    launch, script = split_arguments(["--config", str(config), "--num_processes", "4", "--max_steps", "3"])
    assert launch == [f"--config_file={accelerate_config_file('multi_gpu')}", "--num_processes=4"]
    assert script == ["--config", str(config), "--max_steps", "3"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["grpo", "--siren_cof", "0.1"], "unknown arguments: --siren_cof"),
        (["grpo", "--accelerate_config", "zero9"], "neither a file nor one of"),
        (["grpo", "--config", "nowhere.yaml"], "is not a file"),
        (["grpo", "--config=nowhere.yaml"], "is not a file"),
        (["grpo", "--config", "{list.yaml: - a}"], "holds a list"),
        (["grpo", "--config", "{bad.yaml: a: [1}"], "line 1: no valid YAML"),
    ],
)
def test_bad_command_lines(argv, message, capsys, tmp_path):
    if argv[-1].startswith("{"):  # {name: content}
        name, _, content = argv[-1][1:-1].partition(": ")
        (tmp_path / name).write_text(content)
        argv = [*argv[:-1], str(tmp_path / name)]
    assert cli.main(argv) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_key_in_yaml_is_refused():
    refuse_unknown_arguments(["--num_processes", "2", "--accelerate_config", "zero2"])
    with pytest.raises(ValueError, match="--siren_coeff"):
        refuse_unknown_arguments(["--siren_coeff", "0.1"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward_funcs": "good_reward"}, "is not known.* Give math_reward"),
        ({"reward_funcs": "no.such.reward"}, "could not be imported"),
        ({"dataset_name": "missing.jsonl"}, "there is none"),
        ({"dataset_train_split": "training"}, "it has 'train'"),
        ({"prompt_column": "task"}, "prompt_column='task' is not in the dataset"),
        ({"reward_funcs": "os.path"}, "is a module, not a function"),
        ({"reward_funcs": ".reward"}, "could not be imported"),
        ({"tools": "math.pi"}, "is a float, not a function"),
        ({"siren_coef": -1}, "siren_coef=-1.0 is not allowed"),
        ({"solution_after": "####"}, "solution_after='####' has no effect without solution_column"),
        ({"use_vllm": True, "vllm_mode": "colocate"}, "vLLM is not installed"),
        ({"resume_from_checkpoint": "nowhere"}, "there is no such folder"),
        ({"resume_from_checkpoint": True}, "holds no complete checkpoint"),
        ({"dataset_name": "countdown", "dataset_config": "main"}, "no effect on countdown"),
    ],
)
def test_bad_data_and_rewards_are_refused_before_the_model_loads(change, message, data, tmp_path):
    path = published("siren")
    with pytest.raises(SystemExit, match=f"^trl-entropy: .*{message}"):
        train.main(quick(path, "no/such-model", data, tmp_path / "out", **change))


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is an empty file"), ("{", "could not be read as .jsonl"), ('{"prompt": "a", "s": null}\n', "'s' is null")],
)
def test_a_file_that_holds_no_usable_row_is_refused(content, message, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    columns = ColumnArguments(solution_column="s")
    with pytest.raises(Exception, match=message) as refused:
        to_prompts(load_splits(str(path))["train"], columns)
    assert isinstance(refused.value, ValueError)


@pytest.mark.slow
def test_answers_of_any_type_are_text_and_objects_are_refused():
    columns = ColumnArguments(prompt_column="q", solution_column="s")

    def solution(value):
        return to_prompts(Dataset.from_list([{"q": "a", "s": value}]), columns)[0]["solution"]

    assert [solution(v) for v in (1e-05, ["1", "2"], True, 3)] == ["1e-05", "1, 2", "True", "3"]
    with pytest.raises(ValueError, match="'ground_truth'"):
        solution({"ground_truth": "34"})


def test_switches_of_the_launcher_take_no_value(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("multi_gpu: false\nuse_deepspeed: true\nmain_process_ip:\n")
    launch, script = split_arguments([f"--config={config}", "--cpu", "--max_steps", "3"])
    assert launch == ["--use_deepspeed", "--cpu"]
    assert script == ["--config", str(config), "--max_steps", "3"]


def test_gsm8k_columns_become_prompt_and_solution(data):
    columns = ColumnArguments("question", "answer", "####", system_prompt="Think.")
    row = to_prompts(load_splits(data)["train"], columns)[0]
    assert row["solution"] == "a"
    assert row["prompt"] == [{"role": "system", "content": "Think."}, {"role": "user", "content": "a b"}]
