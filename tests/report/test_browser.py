"""The page in a real browser: drawn without an error, keyboard and filters work, hostile tokens stay text."""

import html
import json
import os
import re
import shutil
import subprocess
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
  change("f-method", "siren");
  say("kept", [...box.querySelectorAll(".kept")].map((n) => n.id).join(","));
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


def test_the_pages_own_policy_lets_its_script_run_and_no_other(report, tmp_path):
    text = report.read_text(encoding="utf-8")
    injected = '<script>document.documentElement.dataset.foreign = "ran"</script>'
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", injected + "</body>"), encoding="utf-8")
    result = browse(tmp_path / "profile", page, "--dump-dom")
    assert 'id="t39"' in result.stdout  # drawn by the page's script
    assert 'data-foreign="ran"' not in result.stdout


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
