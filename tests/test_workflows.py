"""What GitHub runs and asks for: valid by its schemas, and nothing in it that the repository does not have."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet


ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((GITHUB / "workflows").glob("*.yml"))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text()))


def steps(workflow: str) -> list[dict]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", "workflows/*.yml"),
        ("custom.github-workflows-require-timeout", "workflows/*.yml"),
        ("vendor.github-issue-forms", "ISSUE_TEMPLATE/[!c]*.yml"),
        ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml"),
        ("vendor.dependabot", "dependabot.yml"),
        ("vendor.citation-file-format", "../CITATION.cff"),
    ],
)
def test_valid_by_schema(schema: str, pattern: str):
    files = [str(path) for path in GITHUB.glob(pattern)]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert files and done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_run_what_is_there(name: str):
    """A make target of the Makefile, a file of the repository, or python; values of the matrix included."""
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    matrix = [job.get("strategy", {}).get("matrix", {}) for job in WORKFLOWS[name]["jobs"].values()]
    chosen = {row["target"] for values in matrix for row in values.get("include", ())}
    assert chosen <= targets
    for command in (step["run"] for step in steps(name) if "run" in step):
        program, *words = command.split()
        if program == "make":
            assert words == ["${{", "matrix.target", "}}"] if chosen else set(words) <= targets, command
        else:
            assert program in ("python", "grep") or (ROOT / program).is_file(), command


def test_both_trls_and_every_python_are_tested():
    matrix = WORKFLOWS["tests"]["jobs"]["fast"]["strategy"]["matrix"]
    (trl,) = (SpecifierSet(line.removeprefix("trl")) for line in PROJECT["dependencies"] if re.match(r"trl\W", line))
    assert {f"1.{minor}" for minor in range(100) if f"1.{minor}.0" in trl} == set(matrix["trl"])
    assert {row["trl"]: row["target"] for row in matrix["include"]} == {"1.15": "test-older", "1.16": "test"}
    assert PINS["trl"].startswith("1.16.")
    assert '"trl==1.15.*"' in (ROOT / "Makefile").read_text()
    assert len(matrix["python"]) == 3
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in matrix["python"])
    assert "3.10" not in SpecifierSet(PROJECT["requires-python"])


def test_what_is_deployed_is_what_was_built():
    site = (ROOT / "mkdocs.yml").read_text()
    (uploaded,) = (step["with"]["path"] for step in steps("docs") if "pages-artifact" in step.get("uses", ""))
    assert re.search(rf"(?m)^site_dir: {uploaded}$", site)
    owner, _, name = PROJECT["urls"]["Repository"].removeprefix("https://github.com/").partition("/")
    (address,) = re.findall(r"(?m)^site_url: (\S+)$", site)
    assert address == f"https://{owner}.github.io/{name}/"
    for path in GITHUB.rglob("*.yml"):
        for link in re.findall(rf"{re.escape(address)}(\w*)", path.read_text()):
            assert link in ("", "contributing") or (ROOT / "docs" / f"{link}.md").is_file(), path.name


def test_only_the_jobs_that_publish_may_write():
    may = {
        (name, job): content.get("permissions")
        for name, workflow in WORKFLOWS.items()
        for job, content in workflow["jobs"].items()
    }
    assert {where: what for where, what in may.items() if what} == {
        ("docs", "deploy"): {"pages": "write", "id-token": "write"},
        ("release", "publish"): {"id-token": "write"},
    }
    assert all(workflow["permissions"] == {"contents": "read"} for workflow in WORKFLOWS.values())
    assert "secrets." not in "".join(path.read_text() for path in GITHUB.rglob("*.yml"))


@pytest.mark.parametrize(
    ("tag", "status"), [(f"v{PROJECT['version']}", 0), ("v9.9.9", 1), (PROJECT["version"][:-1], 1)]
)
def test_a_release_is_refused_unless_its_tag_is_the_version(tag: str, status: int):
    (check,) = (step["run"] for step in steps("release") if "TAG" in step.get("env", {}))
    assert subprocess.run(["bash", "-c", check], cwd=ROOT, env={"TAG": tag}, timeout=10).returncode == status


def test_a_bug_comes_with_the_doctor_and_the_versions():
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    asked = {field.get("id"): field for field in form["body"]}
    for key, command in (("doctor", "trl-entropy doctor"), ("versions", "trl-entropy --version")):
        assert command in str(asked[key]["attributes"])
        assert asked[key]["validations"] == {"required": True}


def test_pre_commit_formats_as_ci_does():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["rev"] == f"v{PINS['ruff']}"
    assert {hook["id"] for hook in repository["hooks"]} == {"ruff-check", "ruff-format"}
