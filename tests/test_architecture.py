"""The house holds: imports run one way, the figures' table is complete, TRL's seams are where we left them."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import trl
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import rotate_checkpoints
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import utils as trl_utils

from tests.trainer.rig import make_trainer
from trl_entropy import EntropyGRPOConfig, EntropyGRPOTrainer, metrics
from trl_entropy.methods import CONTROLLERS, METHODS


PACKAGE = Path(metrics.__file__).parent
MAY_TOUCH_TRL = {
    "callbacks/heldout",
    "config",
    "grpo_trainer",
    "hub/card",
    "lm_head",
    "methods/kl_cov",
    "plan/planned",
    "reliability/resumption",
    "script/arguments",
    "script/launch",
    "script/mixture",
    "script/reward_names",
    "script/train",
    "script/trl_values",
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


@pytest.mark.slow
def test_logged_keys_are_the_tables(arguments, dataset):
    """Every key that a method adds to TRL's log stream is in its table, and every key of its table is logged."""

    def parity(completion_ids, **_) -> list[float]:
        return [float(sum(ids) % 2) for ids in completion_ids]

    def keys(cls=EntropyGRPOTrainer, config=EntropyGRPOConfig, **given) -> set[str]:
        trainer = make_trainer(arguments(**given), dataset, cls=cls, config=config, reward_funcs=parity)
        trainer.train()
        return {key for row in trainer.state.log_history for key in row}

    stock = keys(GRPOTrainer, GRPOConfig, entropy_coef=0.01)
    plain = keys(entropy_coef=0.01) - stock
    assert plain == {metric.key for metric in metrics.MASS_TABLE}
    for part in (*METHODS, *CONTROLLERS):
        for scope in ("batch", "micro_batch") if part in METHODS else ("batch",):
            logged = keys(**{"entropy_coef": 0.01, **part.example, "entropy_scope": scope}) - stock - plain
            known = {metric.key for metric in (*metrics.TABLE, *part.metrics)}
            assert logged == known, f"{part.key} logs {sorted(logged ^ known)} against its table"


def graph() -> dict[str, set[str]]:
    """Which module of ours imports which, at any depth of the file and for type checkers, too."""
    names = {module_of(path) for path in modules()}
    edges: dict[str, set[str]] = {}
    for path in modules():
        wanted = imports_of(path)
        edges[module_of(path)] = (names & wanted) - {module_of(path), "trl_entropy"}  # whose names are imported late
    return edges


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def reach(start: str, edges: dict[str, set[str]]) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += edges.get(name, ())
    return seen


def test_the_trainer_imports_nothing_of_what_observes_it():
    rooms = {name.split(".")[1] for name in reach("trl_entropy.trainer", graph()) if name.count(".")}
    files = {"trainer", "config", "errors", "durable", "metrics", "lm_head"}
    assert rooms <= files | {"methods", "step", "reliability", "functional"}, rooms


def test_the_math_needs_nothing_else_of_ours():
    edges = graph()
    assert all(name.startswith("trl_entropy.functional") for name in reach("trl_entropy.functional", edges))


def test_every_file_name_is_unique_and_few_lie_at_the_root():
    names = [path.name for path in modules() if not path.name.startswith("__")]
    assert not [name for name in names if names.count(name) > 1]
    assert len(list(PACKAGE.glob("*.py"))) <= 11


def test_no_module_imports_itself_through_others():
    edges = graph()
    # a package's own modules may import from it what it re-exports; between modules there is no circle
    circles = {
        name
        for name, targets in edges.items()
        for target in targets
        if name in reach(target, edges) and not name.startswith(f"{target}.") and not target.startswith(f"{name}.")
    }
    assert not circles, sorted(circles)


def test_every_error_has_one_base():
    errors = {
        f"{path.stem}.{node.name}": [ast.unparse(base) for base in node.bases]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name != "TrlEntropyError"
    }
    assert len(errors) > 10 and all(bases[0] == "TrlEntropyError" for bases in errors.values()), errors


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
