"""The recipes, the comparison and the upstream drafts say what the files, the formulas and the methods say.

Their commands are typed in tests/test_docs.py, which reads every page under docs/.
"""

import ast
import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

from tests.test_docs import FENCE, PAGES, blocks, lines
from trl_entropy import EntropyGRPOConfig
from trl_entropy.doctor import examine, read_plan
from trl_entropy.methods import CONTROLLERS, METHODS


ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "recipes"
COSTS = runpy.run_path(str(ROOT / "scripts/recipe_costs.py"))
RUNS = runpy.run_path(str(ROOT / "scripts/recipe_runs.py"))
NAMES = sorted(COSTS["RECIPES"])


def fenced(path: Path, *languages: str) -> list[str]:
    return [match[2] for match in FENCE.finditer(path.read_text()) if match[1] in languages]


def test_every_recipe_is_in_the_index_and_read_by_the_tests_of_the_docs():
    assert {path.stem for path in FOLDER.glob("*.md")} == {*NAMES, "index"}
    index = (FOLDER / "index.md").read_text()
    assert all(f"]({name}.md)" in index for name in NAMES)
    assert {FOLDER / f"{name}.md" for name in NAMES} <= set(PAGES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_whole(name: str):
    """Its sections, its cost as computed, a command with its own file, and excerpts that are in that file."""
    page, config = FOLDER / f"{name}.md", COSTS["RECIPES"][name][0]
    text, path = page.read_text(), f"configs/{config}.yaml"
    headings = re.findall(r"(?m)^## (.+)$", text)
    assert headings[-3:] == ["Cost", "What it should look like", "When it does not"]
    assert COSTS["with_costs"](name, text) == text, "python scripts/recipe_costs.py --write"
    commands = [words for block in fenced(page, "bash") for words in lines(block)]
    assert ["trl-entropy", "grpo", "--config", path] in commands
    written = yaml.safe_load((ROOT / path).read_text())
    for block in fenced(page, "yaml"):
        shown = yaml.safe_load(block)
        assert {key: written.get(key) for key in shown} == shown
    for picture in re.findall(r"\]\(\.\./images/(recipe_\w+\.png)\)", text):
        assert (ROOT / "docs/images" / picture).stat().st_size < 150_000
    assert not re.search(r"[A-Z]+_TEXT", text)


@pytest.mark.parametrize("name", sorted({entry[0] for entry in COSTS["RECIPES"].values()}))
def test_the_doctor_finds_nothing(name: str):
    plan = read_plan(str(ROOT / f"configs/{name}.yaml"), elsewhere=True)
    assert (plan.warnings, examine(plan).problems) == ((), [])


def test_on_policy_and_off_policy_are_what_they_say():
    steps = {
        name: read_plan(str(ROOT / f"configs/{COSTS['RECIPES'][name][0]}.yaml"), elsewhere=True) for name in NAMES
    }
    assert steps["on_policy_lora"].steps_per_rollout == 1
    assert steps["off_policy_7b"].steps_per_rollout == 8
    assert steps["long_runs"].steps_per_rollout == 2


def test_the_costs_by_hand():
    """LoRA of rank 16 on 0.494e9 parameters, 64 completions of at most 256 tokens on a T4; eight shards of 7.62e9."""
    small = COSTS["cost"](*COSTS["RECIPES"]["on_policy_lora"])
    adapters = 3 * 7 * 16 * 24 * 896
    assert small.states == pytest.approx((4 * 0.494e9 + 16 * adapters) / 2**30)
    assert small.seconds["generating"] == pytest.approx(256 * 0.025)  # no faster than transformers' calls
    assert small.seconds["training"] == pytest.approx(3 * 2 * 0.494e9 * 64 * (150 + 128) / (0.35 * 65e12))
    assert small.seconds["scoring"] == 0  # on-policy
    assert (small.rollouts, small.gib) == (200, small.states + small.activations + small.head)
    large = COSTS["cost"](*COSTS["RECIPES"]["off_policy_7b"])
    assert large.states == pytest.approx(16 * 7.62e9 / 8 / 2**30)
    assert large.generation == pytest.approx(0.3 * 80e9 / 2**30)
    assert large.seconds["training"] == pytest.approx(4 * large.seconds["scoring"])
    assert large.rollouts == 400


@pytest.mark.parametrize("recipe", sorted(RUNS["RECIPES"]))
def test_the_runs_behind_the_pictures_are_accepted_and_drawn(recipe: str, tmp_path: Path):
    for label, arguments in RUNS["RECIPES"][recipe].items():
        EntropyGRPOConfig(**{**RUNS["SHARED"], **arguments, "output_dir": str(tmp_path)})
        folder = RUNS["folder_of"](tmp_path, recipe, label)
        folder.mkdir(parents=True)
        (folder / "log.json").write_text(json.dumps([{"step": 1, "entropy": 0.4, "reward": 0.3}]))
    RUNS["draw"](recipe, tmp_path, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size < 150_000


@pytest.mark.parametrize(("paper", "name"), [("2505.22617", "kl_cov"), ("2509.25133", "siren")])
def test_the_entries_for_trls_index_have_the_configurations_settings(paper: str, name: str):
    text = (ROOT / "docs/upstream/paper_index.md").read_text()
    (entry,) = [part for part in text.split("### ")[1:] if paper in part.splitlines()[2]]
    assert any(method.paper and method.paper.title == entry.splitlines()[0] for method in METHODS)
    code = re.search(r"```python\n(.*?)```", entry, re.DOTALL)
    assert code
    shown = dict(re.findall(r"(?m)^    (\w+)=([^,]+),", code[1]))
    written = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())
    shown.pop("args", None)
    assert {key: ast.literal_eval(value) for key, value in shown.items()} == {key: written[key] for key in shown}


@pytest.mark.parametrize("name", ["paper_index", "head_outputs"])
def test_a_draft_says_so_in_its_first_line(name: str):
    assert (ROOT / f"docs/upstream/{name}.md").read_text().startswith("# Draft for an upstream issue")


def rows(path: Path) -> dict[str, list[str]]:
    found = re.findall(r"(?m)^\| ([^|]+) \| (.+) \|$", path.read_text())
    return {first.strip(): [cell.strip() for cell in rest.split(" | ")] for first, rest in found}


def test_the_readmes_comparison_is_the_pages():
    """Whatever the page calls "not found" the README calls "no", and nothing else."""
    page, readme = rows(ROOT / "docs/comparison.md"), rows(ROOT / "README.md")
    pairs = {
        "entropy bonus": "entropy bonus, with gradient",
        "Clip-Cov, KL-Cov": "Clip-Cov and KL-Cov",
        "SIREN": "SIREN",
        "MaxRL": "MaxRL",
        "80/20": "80/20 (top entropy quantile)",
        "coefficient that follows a target": "coefficient that follows a target",
        "tensor, pipeline parallelism": "tensor and pipeline parallelism",
        "asynchronous training": "asynchronous training",
        "tested on GPUs": "tests that run on GPUs",
    }
    for short, long in pairs.items():
        absent = [cell.startswith(("no", "not found")) and not cell.startswith("not checked") for cell in page[long]]
        assert [cell == "no" for cell in readme[short]] == absent, short


def test_the_comparisons_counts():
    text = (ROOT / "docs/comparison.md").read_text()
    named = {"siren", "clip_cov", "kl_cov", "maxrl", "pass_at_k"}
    further = [method for method in METHODS if method.paper and method.key not in named]
    words = {11: "eleven", 12: "twelve", 13: "thirteen", 5: "five", 6: "six", 7: "seven"}
    assert f"[{words[len(further)]}](methods.md)" in text
    assert f"{words[len(CONTROLLERS)]} controllers" in text


def test_the_drafts_code_runs_with_the_docs():
    assert [block for block in blocks("python") if str(block.id).startswith("docs/upstream/paper_index.md")]
