"""The page: complete, escaped, small, without the network, and drawn from damaged folders too."""

import json
import re
from html.parser import HTMLParser

import pytest

from trl_entropy.report import build_report, write_report
from trl_entropy.report.tokens import json_island, pack_token_maps
from trl_entropy.runlog import RunLogError, read_run

from .runs import HOSTILE, make_run


VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """A strict walk over the page: tags must nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.attributes, self.scripts, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.text).append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for method in ("plain", "siren"):
        for seed in (0, 1):
            make_run(root / f"{method}-{seed}", method, seed)
    return root


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    root = tmp_path_factory.mktemp("bare")
    for name in ("plain-0", "siren-0", "siren-1"):
        make_run(root / name, name[:-2], int(name[-1]), bare=True)
    return root


@pytest.fixture(scope="module")
def page(folder):
    out, problems = write_report([folder], folder / "out" / "report.html")
    assert problems == []
    return out.read_text(encoding="utf-8")


def test_every_section_is_there(page):
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    assert headings == [
        "In ten seconds", "Entropy and score", "The entropy law", "pass@k", "Covariance", "What the method did",
        "Comparison", "Tokens", "Settings",
    ]  # fmt: skip
    text = " ".join(Page(page).text)
    assert "GRPO (2 seeds)" in text
    assert "siren_coef (differs)" in text
    assert "holds" in text


def test_the_markup_nests_and_ids_are_unique_and_found(page):
    parsed = Page(page)
    assert len(parsed.ids) == len(set(parsed.ids))
    for tag, name, value in parsed.attributes:
        if name in ("href", "xlink:href") and value.startswith("#"):
            assert value[1:] in parsed.ids, (tag, value)
        if name in ("aria-labelledby", "aria-describedby"):
            assert set(value.split()) <= set(parsed.ids), (tag, value)
    for target in re.findall(r"url\(#([^)]*)\)", page):
        assert target in parsed.ids


def test_nothing_is_fetched(page):
    parsed = Page(page)
    for tag, name, value in parsed.attributes:
        if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert value.startswith("#"), (tag, name, value)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_hostile_text_stays_text(page):
    parsed = Page(page)
    assert len(parsed.scripts) == 2  # the data and the page's own
    data = json.loads(parsed.scripts[0])
    assert data["rows"][0]["tokens"][11] == HOSTILE
    assert data["rows"][0]["prompt"] == f"Solve {HOSTILE}"
    assert "<script>document.title" not in page
    assert "<i>$x_1$</i>" not in page
    assert any("<i>$x_1$</i>" in text for text in parsed.text)
    assert "<tiny>" not in page


def test_a_run_of_500_steps_stays_below_five_megabytes(tmp_path):
    folder = make_run(tmp_path / "long", "siren", 0, steps=500, tokens=1024, snapshots=80, bare=True)
    out, _ = write_report([folder], tmp_path / "report.html")
    assert out.stat().st_size < 5_000_000
    assert "completions were left out" in out.read_text()


def test_snapshots_are_left_out_evenly_and_both_ends_stay(tmp_path):
    run = read_run(make_run(tmp_path / "run", "siren", 0, steps=200, tokens=100, snapshots=20))
    every, none = pack_token_maps([run], 10**9)
    assert (len(every), none) == (40, 0)
    some, left_out = pack_token_maps([run], len(json_island(every)) // 3)
    steps = sorted({row["step"] for row in some})
    assert len(some) + left_out == 40
    assert (steps[0], steps[-1]) == (1, 200)
    assert 4 <= len(steps) <= 7
    assert len(json_island(some)) <= len(json_island(every)) // 3
    assert pack_token_maps([run], 10)[0] == []


def test_token_lines_that_do_not_fit_are_not_drawn_wrongly(tmp_path):
    folder = make_run(tmp_path / "run", "siren", 0, bare=True)
    lines = [
        {"step": 1, "tokens": ["a", "b"], "entropy": [1.0], "logp": [None, "x"], "kept": [0, 7, "z", -1]},
        {"step": 1, "tokens": "text"},
        {"step": 1, "tokens": []},
        {"step": 1, "tokens": [1, None]},
    ]
    (folder / "token_map.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, _ = pack_token_maps([read_run(folder)], 10**6)
    assert [row["tokens"] for row in rows] == [["a", "b"], ["1", "None"]]
    assert rows[0]["numbers"] == {"logp": [None, None]}  # entropy has the wrong length
    assert rows[0]["marks"] == {"kept": [0]}
    assert (rows[1]["numbers"], rows[1]["marks"]) == ({}, {})


def test_marks_are_the_ones_a_line_names(tmp_path):
    """Places are a mark, a number a token is a number, and all places are still places."""
    folder = make_run(tmp_path / "run", "siren", 0, bare=True)
    line = {"step": 1, "tokens": ["a", "b", "c"], "stare": [0, 1, 2], "weighed": [1], "weight": [1, 0.5, 2]}
    (folder / "token_map.jsonl").write_text(json.dumps(line) + "\n")
    rows, _ = pack_token_maps([read_run(folder)], 10**6)
    assert rows[0]["marks"] == {"stare": [0, 1, 2], "weighed": [1]}
    assert rows[0]["numbers"] == {"weight": [1, 0.5, 2]}
    assert rows[0]["method"] == "SIREN"


def test_damaged_folders_are_drawn_and_what_is_missing_is_named(bare, tmp_path):
    broken = make_run(tmp_path / "broken", "plain", 5, bare=True)
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "entr')
    (broken / "token_map.jsonl").write_text("nonsense\n")
    out, problems = write_report([broken, tmp_path / "nothing", bare / "plain-0"], tmp_path / "report.html")
    text = " ".join(Page(out.read_text()).text)
    assert f"{broken / 'metrics.jsonl'}:61: the line is cut off" in text
    assert f"{tmp_path / 'nothing'}: no such file or folder" in text
    assert f"{broken / 'token_map.jsonl'}: no line holds a JSON object" in text
    assert len(problems) == 3


def test_the_barest_log_makes_a_page(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n')
    page = build_report([read_run(path)])
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", page) == ["In ten seconds", "The entropy law"]
    assert "was never logged" in " ".join(Page(page).text)
    Page(page)


def test_a_lone_surrogate_anywhere_in_a_log_is_written(tmp_path):
    folder = make_run(tmp_path / "run", "siren", 0, bare=True)
    bad = '{"step": 61, "maxrl/x\\ud800": 0.5}\n{"step": 62, "maxrl/x\\ud800": 0.25}\n'
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(bad)
    (folder / "settings.json").write_text('{"method": "maxrl", "model": "m\\udfff", "arguments": {"a\\ud800": 1}}')
    out, problems = write_report([folder], tmp_path / "report.html")
    assert problems == []
    text = " ".join(Page(out.read_text(encoding="utf-8")).text)
    assert "maxrl: x?" in text
    assert "model m?" in text


def test_the_header_says_model_date_and_duration(page, tmp_path):
    folder = make_run(tmp_path / "run", "siren", 0, bare=True)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "train_runtime": 4000.0}\n')
    text = " ".join(Page(build_report([read_run(folder)])).text)
    assert "run, model <tiny>, seed 0, begun 2026-08-01 09:30, 1 h 06 min, 60 steps" in text


def test_settings_that_differ_and_ours_stand_open_and_the_rest_folded(page):
    parsed = Page(page)
    text = " ".join(parsed.text)
    shown, folded = text.index("siren_coef (differs)"), text.index("learning_rate")
    assert shown < text.index("All other settings") < folded


def test_each_method_has_one_colour_on_the_page(bare):
    """Two groups of SIREN beside plain: lines of one colour in every picture, legends that tell them apart."""
    runs = [read_run(bare / name) for name in ("plain-0", "siren-0", "siren-1")]
    runs[2].settings["arguments"] = runs[2].settings["arguments"] | {"siren_coef": 0.9}
    text = build_report(runs)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    used = set(re.findall(r"var\(--c([0-9a-f]{6})\)", "".join(pictures)))
    assert used == {"3a3a3a", "0064b4"}
    (legend,) = {tuple(re.findall(r">(GRPO|SIREN, [^<]*)</text>", p)) for p in pictures if ">Reward<" in p}
    assert legend == ("GRPO", "SIREN, siren_coef=0.5", "SIREN, siren_coef=0.9")
    assert "<h1>GRPO, SIREN, siren_coef=0.5, SIREN, siren_coef=0.9</h1>" in text


def test_at_most_six_lines_a_picture_and_all_of_them_in_the_table(bare):
    runs = []
    for coefficient in range(8):
        runs.append(read_run(bare / "siren-0"))
        runs[-1].settings = runs[-1].settings | {"arguments": {"siren_coef": coefficient}}
    text = build_report(runs)
    reward = next(p for p in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if ">Reward</title>" in p)
    assert len(re.findall(r">SIREN, siren_coef=\d</text>", reward)) == 6
    assert "siren_coef=7</th>" in text


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(RunLogError, match="no such file"):
        write_report([tmp_path / "nothing"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(ValueError, match="at least one"):
        build_report([])


def test_the_same_run_makes_the_same_page(tmp_path):
    run = read_run(make_run(tmp_path / "run", "plain", 0, bare=True))
    assert build_report([run]) == build_report([run])


def luminance(color):
    channels = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_contrast_is_at_least_that_of_wcag_aa(page, scheme):
    """4.5 to 1 for text, on the page, on panels and on the darkest shade of a token."""
    block = page.split(":root{")[{"light": 1, "dark": 2, "print": 3}[scheme]].split("}")[0]
    colors = {}
    for name, value in re.findall(r"--([\w-]+):([^;]+);", block):
        if value.startswith("#"):
            text = value[1:] if len(value) == 7 else "".join(2 * c for c in value[1:])
            colors[name] = tuple(int(text[i : i + 2], 16) for i in (0, 2, 4))
        else:
            colors[name] = tuple(map(int, value.split(",")))
    pairs = [("ink", "page"), ("muted", "page"), ("ink", "panel"), ("muted", "panel"), ("ink", "hot"), ("ink", "cold")]
    pairs += [("link", "page")] if "link" in colors else []
    lines = [(name, "page") for name in colors if re.fullmatch("c[0-9a-f]{6}", name)]
    assert len(lines) == 9
    for needed, several in ((4.5, pairs), (3.0, lines)):
        for front, back in several:
            low, high = sorted((luminance(colors[front]), luminance(colors[back])))
            assert (high + 0.05) / (low + 0.05) >= needed, (front, back)


@pytest.mark.parametrize("text", ["</script>", "<!--", "a\u2028b", "\ud800", "&lt;"])
def test_a_json_island_cannot_be_left(text):
    island = json_island([text])
    assert not set("<>&\u2028") & set(island)
    assert json.loads(island)[0] == text.replace("\ud800", "?")


def test_an_error_that_nothing_foresaw_leaves_one_run_out(bare, tmp_path, monkeypatch, capsys):
    import argparse

    from trl_entropy.commands import law, report
    from trl_entropy.law import points as law_runs
    from trl_entropy.report import build

    strange = make_run(tmp_path / "strange", "plain", 5, bare=True)

    def surprised(run, *rest, real=law_runs.law_of_run):
        if run.name == "strange":
            raise KeyError("nobody thought of this")
        return real(run, *rest)

    monkeypatch.setattr(build, "law_of_run", surprised)
    monkeypatch.setattr(law_runs, "law_of_run", surprised)
    out, problems = write_report([strange, bare / "plain-0"], tmp_path / "report.html")
    text = " ".join(Page(out.read_text()).text)
    assert [str(problem) for problem in problems] == [
        f"{strange / 'metrics.jsonl'}: KeyError ('nobody thought of this'); this run is left out"
    ]
    assert str(problems[0]) in text
    assert "The entropy law" in text  # of the other
    with pytest.raises(RunLogError, match="nobody thought of this"):
        write_report([strange], tmp_path / "none.html")

    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    law.register(subparsers)
    report.register(subparsers)
    args = parser.parse_args(["law", str(strange), str(bare / "plain-0")])
    assert args.run(args) == 1
    captured = capsys.readouterr()
    assert "metrics.jsonl: KeyError ('nobody thought of this')" in captured.err
    assert "plain-0" in captured.out


def test_a_file_that_nothing_foresaw_is_named(bare, tmp_path, monkeypatch):
    from trl_entropy.report import build

    def surprised(path, real=build.read_runs):
        if "strange" in str(path):
            raise ZeroDivisionError("oh")
        return real(path)

    monkeypatch.setattr(build, "read_runs", surprised)
    _, problems = write_report([tmp_path / "strange.csv", bare / "plain-0"], tmp_path / "report.html")
    assert [str(p) for p in problems] == [f"{tmp_path / 'strange.csv'}: ZeroDivisionError (oh); not read"]


def test_a_run_of_constant_reward_is_drawn(tmp_path):
    run = make_run(tmp_path / "run", "plain", 0, bare=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps({**line, "reward": 0.7}) + "\n" for line in lines))
    out, problems = write_report([run], tmp_path / "report.html")
    assert problems == []
    assert "reward is constant at 0.7" in out.read_text()
