"""The page in a real browser: drawn without an error, keyboard and filters work, hostile tokens stay text."""

import html
import json
import os
import re
import shutil
import subprocess
import unicodedata
import zlib
from pathlib import Path

import pytest

from trl_entropy.report import write_report

from .runs import make_run


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the PATH (apt-get install chromium)"),
]

# Drives the page as a reader would, and leaves what it saw in an attribute.
PROBE = """
<script>
addEventListener("load", () => {
  const seen = {}, box = document.getElementById("tokens"), detail = document.getElementById("detail");
  const say = (name, value) => { seen[name] = value; };
  const press = (key) => box.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  const change = (id, value) => {
    const select = document.getElementById(id);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  };
  say("tokens", box.querySelectorAll(".tok").length);
  say("scripts", box.querySelectorAll("script").length);
  box.focus();
  say("first", detail.textContent.slice(0, 8));
  press("ArrowRight"); press("ArrowRight");
  say("active", box.getAttribute("aria-activedescendant"));
  say("selected", box.querySelectorAll("[aria-selected=true]").length);
  press("End");
  say("end", box.getAttribute("aria-activedescendant"));
  press("m");
  say("marked", box.getAttribute("aria-activedescendant"));
  box.children[2].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
  say("hover", detail.textContent.includes("entropy"));
  change("f-method", "SIREN");
  say("kept", [...box.querySelectorAll(".m2")].map((n) => n.id).join(","));
  say("steps", [...document.getElementById("f-step").options].map((o) => o.value).join(","));
  change("f-shade", "covariance");
  say("negative", box.querySelectorAll(".neg").length > 0);
  change("f-mark", "kept");
  say("off", box.querySelectorAll(".off").length);
  say("wide", document.documentElement.scrollWidth - innerWidth);
  say("title", document.title);
  document.documentElement.dataset.seen = JSON.stringify(seen);
});
</script>
"""


COPY = """
<script>
addEventListener("load", () => setTimeout(() => {
  const framed = document.querySelector("iframe").contentDocument;
  document.documentElement.dataset.seen = framed.documentElement.dataset.seen;
}, 500));
</script>
"""


def browse(profile, page, *options):
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={profile}", "--virtual-time-budget=4000", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for method in ("plain", "siren"):
        make_run(root / method, method, 0)
    return write_report([root], root / "out" / "report.html", title="Two runs")[0]


@pytest.mark.parametrize("width", [390, 1200])
def test_a_reader_can_use_the_page(report, tmp_path, width):
    text = report.read_text(encoding="utf-8")
    # The page's policy forbids foreign scripts; the probe is one, so it is let in here
    text = re.sub(r"; script-src '[^']*'", "; script-src 'unsafe-inline'", text)
    text = text.replace("</body>", PROBE + "</body>")
    probed = tmp_path / "probed.html"
    probed.write_text(text, encoding="utf-8")
    # A window cannot be narrower than about 500 pixels; a frame can
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="probed.html" style="border:0;width:{width}px;height:3000px"></iframe>{COPY}')
    options = ("--dump-dom", "--allow-file-access-from-files", "--window-size=1300,3000")
    result = browse(tmp_path / "profile", frame, *options)
    found = re.search(r'data-seen="([^"]*)"', result.stdout)
    assert found is not None, result.stderr[-2000:]
    seen = json.loads(html.unescape(found[1]))
    assert seen["tokens"] == 40
    assert seen["scripts"] == 0
    assert seen["first"] == '1: "Let"'
    assert seen["active"] == "t2"
    assert seen["selected"] == 1
    assert seen["end"] == "t39"
    assert seen["marked"] == "t2"  # past the last mark it begins again
    assert seen["hover"]
    assert seen["kept"] == "t1,t3,t5"
    assert seen["steps"] == "1,30,60"
    assert seen["negative"]
    assert seen["off"] == 37
    assert seen["wide"] <= 0  # nothing sticks out sideways
    assert seen["title"] == "Two runs"  # the hostile token did not run


def test_a_token_row_without_numbers_is_shown(report, tmp_path):
    folder = make_run(tmp_path / "run", "siren", 0)
    (folder / "token_map.jsonl").write_text('{"step": 1, "tokens": ["a", "b"], "kept": [1]}\n')
    page, _ = write_report([folder], tmp_path / "report.html")
    result = browse(tmp_path / "profile", page, "--dump-dom")
    assert 'id="t1"' in result.stdout
    assert "kept by the peak mask (1)" in result.stdout


def test_the_pages_own_policy_lets_its_script_run_and_no_other(report, tmp_path):
    text = report.read_text(encoding="utf-8")
    injected = '<script>document.documentElement.dataset.foreign = "ran"</script>'
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", injected + "</body>"), encoding="utf-8")
    result = browse(tmp_path / "profile", page, "--dump-dom")
    assert 'id="t39"' in result.stdout  # drawn by the page's script
    assert 'data-foreign="ran"' not in result.stdout


def words_of_pdf(raw):
    """The text that a PDF shows: its strings of glyphs, read through each font's map to characters."""
    objects = {int(n): body for n, body in re.findall(rb"(\d+) 0 obj\n(.*?)endobj", raw, re.DOTALL)}

    def stream(number):
        found = re.search(rb"stream\r?\n(.*?)\r?\nendstream", objects[number], re.DOTALL)
        return zlib.decompress(found[1]).decode("latin-1")

    fonts = {}
    for name, number in set(re.findall(rb"/(F\d+) (\d+) 0 R", raw)):
        characters = {}
        reference = re.search(rb"/ToUnicode (\d+) 0 R", objects[int(number)])
        text = stream(int(reference[1])) if reference else ""
        for block in re.findall(r"beginbfchar(.*?)endbfchar", text, re.DOTALL):
            characters |= {int(a, 16): chr(int(b[:4], 16)) for a, b in re.findall(r"<(\w+)> <(\w+)>", block)}
        for block in re.findall(r"beginbfrange(.*?)endbfrange", text, re.DOTALL):
            for first, last, start in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
                places = range(int(first, 16), int(last, 16) + 1)
                characters |= {code: chr(int(start, 16) + i) for i, code in enumerate(places)}
        fonts[name.decode()] = characters
    shown = []
    pages = [body for body in objects.values() if b"/Type /Page\n" in body]
    for page in pages:
        font = {}
        content = stream(int(re.search(rb"/Contents (\d+)", page)[1]))
        for name, glyphs in re.findall(r"/(F\d+) [\d.]+ Tf|<([0-9A-F]+)>", content):
            font = fonts.get(name, font) if name else font
            shown.append("".join(font.get(int(glyphs[i : i + 4], 16), "") for i in range(0, len(glyphs), 4)))
    return "".join(shown), len(pages)


def test_the_printed_page_says_what_paper_can_do(report, tmp_path):
    """In the PDF that the browser prints: the figures and the tokens, and nothing about keys to press."""
    printed = tmp_path / "report.pdf"
    browse(tmp_path / "profile", report, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    text, pages = words_of_pdf(printed.read_bytes())
    text = re.sub(r"\s", "", unicodedata.normalize("NFKC", text))
    assert 2 <= pages <= 12
    assert "Eachwordisshadedbyanumber" in text
    assert "Theentropylaw" in text
    assert "clipped:nogradient" in text
    for gone in ("goestothenext", "Pointatatoken", "Skiptothecontent", "Shadeby"):
        assert gone not in text


def test_printed_tables_are_no_wider_than_a4(report, tmp_path):
    """Laid out by the print rules in a frame as wide as A4 between the browser's margins, 190 mm."""
    text = report.read_text(encoding="utf-8")
    text = re.sub(r"; script-src '[^']*'", "; script-src 'unsafe-inline'", text).replace("@media print", "@media all")
    probe = """<script>addEventListener("load", () => {
      const wide = [...document.querySelectorAll(".scroll")].map((n) => [n.scrollWidth - n.clientWidth, n.ariaLabel]);
      document.documentElement.dataset.seen = JSON.stringify(wide);
    });</script>"""
    (tmp_path / "probed.html").write_text(text.replace("</body>", probe + "</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="probed.html" style="border:0;width:718px;height:3000px"></iframe>{COPY}')
    options = ("--dump-dom", "--allow-file-access-from-files", "--window-size=1300,3000")
    found = re.search(r'data-seen="([^"]*)"', browse(tmp_path / "profile", frame, *options).stdout)
    assert found is not None
    wide = json.loads(html.unescape(found[1]))
    assert any("R = b" in label for _, label in wide)
    assert [label for excess, label in wide if excess > 0] == []


@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_both_schemes_are_drawn(report, tmp_path, scheme):
    """The picture is drawn, mostly in the page's colour, and is kept where TRL_ENTROPY_SCREENSHOTS names a folder."""
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with matplotlib")
    shot = tmp_path / "shot.png"
    options = (f"--screenshot={shot}", "--window-size=1100,2400", f"--blink-settings=preferredColorScheme={scheme}")
    browse(tmp_path / "profile", report, *options)
    picture = image.open(shot).convert("RGB")
    share = {color: count / (picture.width * picture.height) for count, color in picture.getcolors(1 << 24)}
    page = (20, 23, 26) if scheme == 0 else (255, 255, 255)
    assert share[page] > 0.5
    assert len(share) > 50
    if folder := os.environ.get("TRL_ENTROPY_SCREENSHOTS"):
        shutil.copy(shot, Path(folder) / f"report-{'dark' if scheme == 0 else 'light'}.png")
