"""The house holds: imports run one way, the figures' table is complete, TRL's seams are where we left them."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import trl
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints
from trl import GRPOTrainer
from trl.trainer import utils as trl_utils

from tests.trainer.rig import make_trainer
from trl_entropy import metrics


PACKAGE = Path(metrics.__file__).parent
MAY_TOUCH_TRL = {
    "callbacks/heldout",
    "config",
    "config_checks",
    "hub/card",
    "lm_head",
    "plan/planned",
    "script/inputs",
    "script/launch",
    "script/mixture",
    "script/train",
    "trainer",
}
NO_TORCH = ("plots", "report", "runlog", "law")


def imports_of(path: Path) -> set[str]:
    """Absolute names a module imports at any depth, relative ones resolved."""
    package = ["trl_entropy", *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_the_math_imports_torch_and_nothing_else_of_the_field():
    allowed = (
        "torch",
        "triton",
        "trl_entropy.functional",
        "math",
        "typing",
        "contextlib",
        "collections",
        "os",
        "dataclasses",
        "functools",
        "importlib",
        "warnings",
        "numpy",
    )
    for path in (PACKAGE / "functional").rglob("*.py"):
        for name in imports_of(path):
            assert name.startswith(allowed), f"{path.name} imports {name}"


def test_only_the_trainers_rooms_touch_trl():
    touching = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in modules()
        if any(name == "trl" or name.startswith("trl.") for name in imports_of(path))
    }
    assert touching <= MAY_TOUCH_TRL


def test_what_reads_files_never_imports_torch():
    code = "import sys\n" + "".join(f"import trl_entropy.{name}\n" for name in NO_TORCH)
    code += "bad = {'torch', 'trl', 'transformers'} & set(sys.modules)\nassert not bad, bad"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_logged_keys_are_the_tables(arguments, dataset):
    """Every key we add to TRL's log stream is in the table, and every key of the table is logged by some method."""
    logged, stock = set(), set()
    for given in (
        {},
        {"siren_coef": 0.5},
        {"clip_cov_ratio": 0.1},
        {"kl_cov_ratio": 0.1, "entropy_scope": "micro_batch"},
    ):
        trainer = make_trainer(arguments(**given), dataset)
        trainer.train()
        keys = {key for row in trainer.state.log_history for key in row}
        if given:
            logged |= keys - stock
        else:
            stock = keys
    assert logged == {metric.key for metric in metrics.TABLE}


def test_canary_signatures_of_trl():
    """What we override or stand in for. A TRL release that moves one turns exactly this test red."""

    def parameters(function) -> list[str]:
        return list(inspect.signature(function).parameters)

    assert parameters(GRPOTrainer._compute_loss) == ["self", "model", "inputs"]
    assert parameters(GRPOTrainer._generate_and_score_completions) == ["self", "inputs"]
    scoring = parameters(GRPOTrainer._get_per_token_logps_and_entropies)
    assert scoring[:7] == [
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
    ]
    assert parameters(trl_utils._ChunkedLogProbFunction.forward) == [
        "ctx", "hidden", "weight", "bias", "targets", "temperature", "chunk_size", "final_logit_softcapping",
        "logit_scale", "outputs",
    ]  # fmt: skip
    assert parameters(GRPOTrainer._save_optimizer_and_scheduler) == ["self", "output_dir"]
    assert parameters(GRPOTrainer._load_optimizer_and_scheduler) == ["self", "checkpoint"]
    assert parameters(GRPOTrainer._calculate_rewards) == [
        "self", "inputs", "prompts", "completions", "completion_ids_list",
    ]  # fmt: skip
    assert parameters(GRPOTrainer.compute_loss) == [
        "self", "model", "inputs", "return_outputs", "num_items_in_batch",
    ]  # fmt: skip
    assert parameters(GRPOTrainer._save_checkpoint) == ["self", "model", "trial"]
    assert parameters(GRPOTrainer._push_from_checkpoint) == ["self", "checkpoint_folder"]
    assert parameters(GRPOTrainer._get_output_dir) == ["self", "trial"]
    assert parameters(GRPOTrainer.train)[:2] == ["self", "resume_from_checkpoint"]
    assert list(inspect.signature(rotate_checkpoints).parameters)[:3] == [
        "output_dir", "save_total_limit", "best_model_checkpoint",
    ]  # fmt: skip
    assert TRAINER_STATE_NAME == "trainer_state.json"
    assert callable(trl_utils.maybe_gather_lm_head_ctx)
    assert trl.__version__.startswith(("1.15", "1.16"))


def test_what_is_imported_is_declared():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    declared = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in wanted}
    owners = packages_distributions()
    imported = {name.split(".")[0] for path in modules() for name in imports_of(path)} - {"trl_entropy", "__future__"}
    for name in sorted(imported - sys.stdlib_module_names):
        packages = {owner.lower().replace("_", "-") for owner in owners.get(name, [name])}
        assert packages & declared, f"{name} is imported, but pyproject.toml declares none of {packages}"


def test_no_path_of_a_machine_in_the_project():
    root = PACKAGE.parent
    for path in [*modules(), *(root / "configs").rglob("*.yaml"), root / "README.md", *(root / "docs").rglob("*.md")]:
        text = path.read_text()
        for word in ("/root/", "/home/", "/tmp/", f"{root}/"):
            assert word not in text, f"{path.relative_to(root)} contains {word}"
