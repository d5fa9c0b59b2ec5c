"""The page's figures are those of `results/`, and its parts are made as they say."""

from pathlib import Path

import pytest
import yaml

from tests.study.test_results import outcome
from trl_entropy.study.evidence import PARTS, main, rebuilt
from trl_entropy.study.worker import as_text


ROOT = Path(__file__).parents[2]
PAGE = "# Title\n" + "".join(f"<!-- generated: {part} mine countdown -->\nold\n<!-- end -->\n" for part in PARTS)


def test_the_page_is_what_the_results_say():
    page = (ROOT / "docs" / "evidence.md").read_text()
    assert rebuilt(page, ROOT / "results") == page, "run `make evidence`"


def test_the_studies_of_the_page_exist():
    page = (ROOT / "docs" / "evidence.md").read_text()
    for study in {line.split()[3] for line in page.split("\n") if line.startswith("<!-- generated:")}:
        assert (ROOT / "configs" / "study" / f"{study}.yaml").exists()


def test_the_matrix_has_the_settings_that_were_chosen():
    """Where choose.yaml lists settings, matrix.yaml takes one of them."""
    chosen, matrix = (
        yaml.safe_load((ROOT / f"configs/study/{name}.yaml").read_text()) for name in ("choose", "matrix")
    )
    for method, settings in chosen["settings"].items():
        candidates = [{**chosen["methods"][method], **setting} for setting in settings]
        assert matrix["methods"][method] in candidates, method


def save(folder: Path, *runs) -> None:
    for run in runs:
        path = folder / "countdown" / f"{run.label}-seed{run.plan['seed']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text({"versions": {"torch": "2"}, "device": "cpu", **run.content}))


def results(tmp_path: Path) -> Path:
    """Plain: pass@1 .125, .25, .5; the new method .125, .25, .375; a worse setting of it that learns nothing.

    In every evaluation after b batches: entropy .5, nucleus 1 + b words, 0.01 b outside it, 0.02 b unreadable."""
    runs = [
        outcome("start", [2]),
        outcome("plain", [4, 8]),
        outcome("new", [4, 6]),
        outcome("new", [2, 2], setting={"a": 1}),
    ]
    for run in runs:
        for row in run.content["evaluations"]:
            row.update(outside=0.01 * row["batch"], nucleus=1.0 + row["batch"], unreadable=0.02 * row["batch"])
        run.content["temperatures"] = [{**run.content["evaluations"][-1], "temperature": value} for value in (1, 0.5)]
        for split in ("selection",):
            run.content["evaluations"].extend([{**row, "split": split} for row in list(run.content["evaluations"])])
    save(tmp_path / "results" / "mine", *runs)
    return tmp_path / "results"


def test_parts_worked_by_hand(tmp_path):
    page = rebuilt(PAGE, results(tmp_path))
    assert "old" not in page
    lines = page.split("\n")
    assert "3 runs of up to 20 batches, seeds 0; 0.0 hours of cpu; torch 2." in lines
    assert "| new | 0.375 [0.375, 0.375] | 0.375 [0.375, 0.375] |" in page
    assert "| new a=1 | – | – | – | – |" in page  # it never rises: nothing to compare
    assert "| new | +0.000 [+0.000, +0.000] | +0.000 [+0.000, +0.000] | 0.375 | – |" in page
    assert "| plain | 0.500 | +0.000 | **chosen** |" in lines
    assert "| new | 0.375 | +0.000 | **chosen** |" in lines and "| new a=1 | 0.125 | -1.000 |  |" in lines
    assert "| start → batch 10 → batch 20 | entropy, nats a token |" in page
    assert "| new | 0.5 → 0.5 → 0.5 | 0 → 0.1 → 0.2 | 1 → 11 → 21 | 0 → 0.2 → 0.4 |" in lines
    assert "](images/explosion_mine_countdown.png)" in page
    assert "| pass@1 / pass@16 at temperature | 0.5 | 1 |" in lines
    assert "| start | 0.125 / 1.000 | 0.125 / 1.000 |" in lines
    assert "| new | 0.375 / 1.000 | 0.375 / 1.000 |" in lines
    assert "| new | – | – | – |" in lines  # it never has plain's pass@1, at no temperature
    assert rebuilt(page, tmp_path / "results") == page


def test_the_page_and_its_pictures_are_written(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "evidence.md").write_text(PAGE)
    main(tmp_path / "docs" / "evidence.md", results(tmp_path))
    assert "3 runs" in (tmp_path / "docs" / "evidence.md").read_text()
    for kind in ("frontier", "temperatures", "explosion"):
        picture = tmp_path / "docs" / "images" / f"{kind}_mine_countdown.png"
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_study_without_results_says_so_and_an_unknown_part_is_refused(tmp_path):
    assert "*No results yet: `trl-entropy study configs/study/mine.yaml`.*" in rebuilt(PAGE, tmp_path)
    with pytest.raises(ValueError, match="'front'"):
        rebuilt(PAGE.replace("frontier", "front"), tmp_path)
