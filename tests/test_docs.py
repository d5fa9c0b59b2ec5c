"""What the README and the docs tell a reader to type is typed here: Python runs, commands parse, links exist."""

import json
import math
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import datasets
import pytest
import transformers
import yaml
from datasets import Dataset

import trl_entropy
from tests.conftest import tiny_model, tiny_tokenizer
from trl_entropy import cli
from trl_entropy.config import own_arguments
from trl_entropy.methods import CONTROLLERS, METHODS
from trl_entropy.methods.base import defaults
from trl_entropy.methods.entropy_adv import EntropyAdv
from trl_entropy.script.arguments import launcher_arguments, make_parser, refuse_unknown_arguments
from trl_entropy.script.launch import split_arguments
from trl_entropy.study.matrix import read_study


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHELL = ("bash", "sh", "console", "shell")
COMMANDS = ("trl-entropy", "make", "pip", "python", "accelerate", "git", "cd", "hf", "lm_eval", "export", "pytest")


def blocks(*languages: str) -> list:
    found = []
    for page in PAGES:
        for match in FENCE.finditer(page.read_text()):
            language, text = match[1], match[2]
            if language == "" and text.lstrip("$ ").split(" ")[0] in COMMANDS:
                language = "bash"
            if language in languages:
                line = page.read_text()[: match.start()].count("\n") + 1
                found.append(pytest.param(text, id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def small(**arguments) -> dict:
    """Arguments of a documented run, with what a tiny model on a CPU needs."""
    return {
        **arguments,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "steps_per_generation": 2,
        "gradient_accumulation_steps": 1,
        "max_completion_length": 6,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict:
    """Tiny models and data where a page names those of the Hub; a page may write `...` for the trainer's arguments."""
    config, trainer = trl_entropy.EntropyGRPOConfig, trl_entropy.EntropyGRPOTrainer
    words = ["a b", "c d e", "f g", "h i j k"] * 4
    columns = dict.fromkeys(("solution", "problem", "question", "answer"), words)
    data = Dataset.from_dict({"prompt": [[{"role": "user", "content": text}] for text in words], **columns})

    def make_config(**arguments):
        arguments.pop("generation_batch_size", None)
        return config(**small(**arguments))

    def make_trainer(*args, **kwargs):
        kwargs.pop("model", None)
        kwargs.setdefault("reward_funcs", lambda completions, **_: [float(len(str(c))) for c in completions])
        kwargs |= {"train_dataset": data, "processing_class": tiny_tokenizer(), "eval_dataset": None}
        kwargs.setdefault("args", make_config(output_dir=str(tmp_path)))
        return trainer(tiny_model(), **kwargs)

    monkeypatch.setattr(trl_entropy, "EntropyGRPOConfig", make_config)
    monkeypatch.setattr(trl_entropy, "EntropyGRPOTrainer", make_trainer)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: tiny_model())
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: tiny_tokenizer())
    monkeypatch.chdir(tmp_path)
    entropy = [1.0 - 0.02 * step for step in range(40)]
    reward = [0.6 - 0.2 * math.exp(h) + 0.001 * (-1) ** i for i, h in enumerate(entropy)]
    rows = [{"step": i + 1, "entropy": h, "reward": r} for i, (h, r) in enumerate(zip(entropy, reward, strict=True))]
    (tmp_path / "runs" / "siren").mkdir(parents=True)
    (tmp_path / "runs" / "siren" / "trainer_state.json").write_text(json.dumps({"log_history": rows}))
    names = {"EntropyGRPOTrainer": make_trainer, "EntropyGRPOConfig": make_config}
    return {"__name__": "docs", "entropy": entropy, "reward": reward, **names}


@pytest.mark.parametrize("text", blocks("python", "py"))
def test_python_runs(text: str, stand_ins: dict):
    if re.search(r"\btrainer\.", text) and not re.search(r"\btrainer = ", text):
        stand_ins["trainer"] = stand_ins["EntropyGRPOTrainer"]()
    exec(compile(text, "docs", "exec"), stand_ins)


def lines(text: str) -> list[list[str]]:
    joined = re.sub(r"\\\n\s*", " ", text)
    shown = [re.sub(r"^\$ ", "", line.strip()) for line in joined.splitlines()]
    parsed = [shlex.split(line, comments=True) for line in shown if line and not line.startswith("#")]
    # VARIABLE=value in front of a command
    return [
        words[next(i for i, w in enumerate(words) if not re.match(r"^[A-Z_]+=", w)) :] for words in parsed if words
    ]


@pytest.mark.parametrize("text", blocks(*SHELL))
def test_commands_are_understood(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    for module in ("script.inputs", "plan.planned"):  # whatever is installed here
        monkeypatch.setattr(f"trl_entropy.{module}.find_spec", lambda name: name)
    for name in ("configs", "scripts", "notebooks", "Makefile", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks("yaml"):  # a file that a page shows under its name
        if named := re.match(r"# ([\w-]+\.yaml)\n", str(block.values[0])):
            (tmp_path / named[1]).write_text(str(block.values[0]))
    for words in lines(text):
        redirect = Path(words.pop()) if words[-2:-1] == [">"] and words.remove(">") is None else None
        capsys.readouterr()
        check_command(words)
        if redirect is not None:
            redirect.write_text(capsys.readouterr().out)


def check_command(words: list[str]) -> None:
    program, *rest = words
    if program == "trl-entropy" and rest[:1] == ["grpo"]:
        flags, script = split_arguments(rest[1:])
        assert all(flag.startswith("--") for flag in flags)
        at = script.index("--config") if "--config" in script else None
        known = script if at is None else script[:at] + script[at + 2 :]
        if "--help" not in known:
            refuse_unknown_arguments(make_parser().parse_known_args(known)[1])
    elif program == "trl-entropy" and rest[:1] in (["init"], ["doctor"]):
        assert cli.main(rest) == 0
    elif program == "trl-entropy":
        cli.make_parser().parse_args(rest)
    elif program == "make":
        targets = re.findall(r"(?m)^([a-z-]+):", Path("Makefile").read_text())
        assert {word for word in rest if "=" not in word} <= set(targets), words
    elif program in ("python", "python3", "accelerate"):
        for word in rest:
            assert not word.endswith((".py", ".yaml")) or Path(word).is_file(), f"{word} is not there"
    else:
        assert program in COMMANDS, f"{program}: what is it?"


@pytest.mark.parametrize("text", blocks("yaml", "yml"))
def test_yaml_names_arguments_that_exist(text: str, tmp_path: Path):
    if "tasks" in yaml.safe_load(text):  # a study has a form of its own
        (tmp_path / "study.yaml").write_text(text)
        assert read_study(tmp_path / "study.yaml").runs()
        return
    known = {action.dest for action in make_parser()._actions} | launcher_arguments()
    assert set(yaml.safe_load(text)) <= known


@pytest.mark.parametrize("text", [block for block in blocks("yaml") if str(block.id).startswith("docs/methods.md")])
def test_a_methods_yaml_is_accepted(text: str, tmp_path: Path):
    given = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, **yaml.safe_load(text)}
    trl_entropy.EntropyGRPOConfig(**given)


def test_every_method_and_controller_has_a_section_and_an_example():
    text = (ROOT / "docs" / "methods.md").read_text()
    for part in (*METHODS, *CONTROLLERS):
        section = re.search(rf"(?m)^### {re.escape(part.name)}\n(.*?)(?=^##)", text, re.DOTALL)
        assert section and re.search(rf"```yaml\n[^`]*\b{part.switch}: ", section[1]), part.name
    for method in METHODS:
        controllers = text[text.index("## Controllers") :]
        assert not method.coefficient or f"`{method.coefficient}`" in controllers.partition("### ")[0], method.key


def test_the_method_that_is_explained_is_the_packages():
    """docs/add_a_method.md shows Entropy-Adv's file: what it declares and computes is what the package does."""
    (text,) = (block.values[0] for block in blocks("python") if "class EntropyAdv(" in str(block.values[0]))
    shown: dict = {"__name__": "docs"}
    exec(compile(text, "docs", "exec"), shown)
    theirs, ours = shown["EntropyAdv"], EntropyAdv
    for name in ("key", "name", "switch", "coefficient", "paper", "metrics", "published", "example", "per_token"):
        assert getattr(theirs, name) == getattr(ours, name), name
    assert defaults(theirs.Arguments) == defaults(ours.Arguments)
    hooks = {name for name in vars(ours) if callable(getattr(ours, name))} - {"Arguments"}
    assert {name for name in vars(theirs) if callable(getattr(theirs, name))} - {"Arguments"} == hooks


def test_the_readmes_first_claim_is_counted():
    numbers = {f"{word} methods": n for n, word in enumerate(("sixteen", "seventeen", "eighteen", "nineteen"), 16)}
    numbers |= {f"{word} controllers": n for n, word in enumerate(("five", "six", "seven"), 5)}
    claim = (ROOT / "README.md").read_text().partition("![")[0]
    found = {said: n for said, n in numbers.items() if said in claim}
    published = [method for method in METHODS if method.paper]
    assert list(found.values()) == [len(published), len(CONTROLLERS)]
    assert [method.key for method in METHODS if not method.paper] == ["random_clip"]  # "a control"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_tables_are_what_the_methods_declare():
    assert (
        subprocess.run([sys.executable, "scripts/write_tables.py", "--check"], cwd=ROOT, timeout=120).returncode == 0
    )
    text = (ROOT / "docs" / "methods.md").read_text()
    assert not [name for name in own_arguments() if not re.search(rf"\b{name}\b", text)]


def test_the_laws_route_from_an_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture):
    """What `eval --model RUN/checkpoint-* --output-dir DIR` writes is what `law DIR/entropy_reward.jsonl` fits."""
    points = [(10 * i, 1.0 - 0.1 * i) for i in range(1, 9)]
    rows = [
        {"step": step, "entropy": h, "reward": 0.6 - 0.2 * math.exp(h), "source": "eval", "benchmark": "math500"}
        for step, h in points
    ]
    path = tmp_path / "evaluation" / "entropy_reward.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["law", str(path), "--json"]) == 0
    fit = json.loads(capsys.readouterr().out)[0]["fit"]
    assert fit["points"] == 8
    assert fit["a"] == pytest.approx(0.2)


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text())
    assert newest is not None
    assert {trl_entropy.__version__, citation["version"], project["version"], newest[1]} == {trl_entropy.__version__}
    assert {citation["license"], project["license"]} == {"Apache-2.0"}


def test_one_address_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    address = urls["Repository"]
    assert citation["repository-code"] == address
    assert all(url.startswith(address) for url in urls.values())
    for url, page in ((urls[name], urls[name].rpartition("/main/")[2]) for name in ("Documentation", "Changelog")):
        assert (ROOT / page).exists(), url
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        for owner in re.findall(r"github(?:\.com)?/([\w-]+/trl-entropy)\b", notebook.read_text()):
            assert address.endswith(f"/{owner}"), notebook.name


def test_extras_are_installed_from_a_clone():
    """The package is on no index: `pip install trl-entropy[...]` would find nothing."""
    sources = [*PAGES, *(ROOT / "configs").rglob("*.yaml"), *(ROOT / "trl_entropy").rglob("*.py")]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in sources:
        text = path.read_text()
        assert "trl-entropy[" not in text, path.name
        for names in re.findall(r'pip install[^"\n]* "\.\[([\w,-]+)\]"', text):
            assert set(names.split(",")) <= set(extras), path.name


def test_the_citation_names_the_papers_of_the_card():
    from trl_entropy.methods.clip_cov import ClipCov
    from trl_entropy.methods.siren import Siren

    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    for paper, reference in zip((Siren.paper, ClipCov.paper), references, strict=True):
        assert paper.title == reference["title"]
        assert reference["url"].endswith(paper.id)
        names = [f"{author['given-names']} {author['family-names']}" for author in reference["authors"]]
        assert " and ".join(names) in re.sub(r"\s+", " ", paper.citation)
