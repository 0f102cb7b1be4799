"""The page as a browser sees it; left out where there is no Chromium."""

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import CHROMIUM
from synthetic import make_study

from gen_models.comparison.compare import compare
from gen_models.comparison.report import write_report

# A page around the report, as wide as a phone, that clicks and measures, then writes what it saw.
FRAME = """<!doctype html><body><iframe src="report.html" style="width:390px;height:900px"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {
  const page = event.target.contentDocument, seen = {};
  const table = page.querySelector("table.sortable"), heads = [...table.tHead.rows[0].cells];
  const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim());
  const column = heads.findIndex((head) => head.textContent.includes("fid"));
  seen.before = order();
  heads[column].querySelector("button").click();
  seen.rising = order(); seen.aria = heads[column].getAttribute("aria-sort");
  heads[column].querySelector("button").click();
  seen.falling = order(); seen.aria2 = heads[column].getAttribute("aria-sort");
  seen.foot = [...table.tBodies[1].rows].map((row) => row.cells[0].textContent.trim());
  seen.width = page.documentElement.scrollWidth;
  seen.requests = event.target.contentWindow.performance.getEntriesByType("resource")
    .map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  seen.broken = [...page.images].filter((image) => !image.naturalWidth).length;
  document.body.innerHTML = "<pre>" + JSON.stringify(seen) + "</pre>";
});
</script>"""


def browse(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the frame saw of report.html, and the errors on the console."""
    (folder / "frame.html").write_text(FRAME)
    assert CHROMIUM
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    options += ["--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom"]
    options += [f"--user-data-dir={folder / 'profile'}", "--disable-background-networking"]
    page = (folder / "frame.html").as_uri()
    done = subprocess.run(
        [CHROMIUM, *options, page], capture_output=True, text=True, timeout=60, check=True
    )
    found = re.search("<pre>(.*)</pre>", done.stdout, re.DOTALL)
    assert found, done.stdout[:1000]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    write_report(compare([make_study(place / "runs", seeds=2, pictures=True)]), place)
    return place


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_in_a_browser(folder: Path) -> None:
    seen, errors = browse(folder)
    assert errors == []
    assert seen["requests"] == []
    assert seen["broken"] == 0
    assert seen["before"] == ["GAN baseline", "GAN final", "VAE baseline", "VAE final"]
    assert seen["rising"] == ["GAN final", "VAE final", "VAE baseline", "GAN baseline"]
    assert seen["falling"] == seen["rising"][::-1]
    assert (seen["aria"], seen["aria2"]) == ("ascending", "descending")
    assert seen["foot"][:3] == ["real images", "PCA Gaussian", "pixel noise"]
    assert seen["width"] <= 390


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_request_or_an_error_would_be_seen(folder: Path, tmp_path: Path) -> None:
    page = (folder / "report.html").read_text()
    spoilt = '<img src="https://example.org/x.png"><script>nonsense()</script></body>'
    (tmp_path / "report.html").write_text(page.replace("</body>", spoilt))
    _, errors = browse(tmp_path)
    assert any("Content Security Policy" in line for line in errors)
    assert any("nonsense" in line for line in errors)
