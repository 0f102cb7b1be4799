"""The page as a browser sees it; left out where there is no Chromium."""

from pathlib import Path

import pytest
from chromium import needs_chromium, visit
from synthetic import make_study

from gen_models.comparison.compare import compare
from gen_models.comparison.report import write_report

SORTED = """() => {
  const table = document.querySelector("table.sortable"), heads = [...table.tHead.rows[0].cells];
  const order = (body) =>
    [...table.tBodies[body].rows].map((row) => row.cells[0].textContent.trim());
  const head = heads.find((head) => head.textContent.includes("fid"));
  const click = () => {
    head.querySelector("button").click();
    return [order(0), head.getAttribute("aria-sort")];
  };
  return [order(0), click(), click(), order(1)];
}"""

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    write_report(compare([make_study(place / "runs", seeds=2, pictures=True)]), place)
    return place


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(width: int, folder: Path) -> None:
    with visit(folder / "report.html", width) as visited:
        assert visited.faults(width) == []
        before, (rising, sign), (falling, other), foot = visited.page.evaluate(SORTED)
        assert visited.faults(width) == []
    assert before == ["GAN baseline", "GAN final", "VAE baseline", "VAE final"]
    assert rising == ["GAN final", "VAE final", "VAE baseline", "GAN baseline"]
    assert falling == rising[::-1]
    assert (sign, other) == ("ascending", "descending")
    assert foot[:3] == ["real images", "crude Gaussian", "pixel noise"]


def test_faults_would_be_seen(folder: Path, tmp_path: Path) -> None:
    page = (folder / "report.html").read_text()
    spoilt = '<img src="https://example.org/x.png"><div style="width:999px">x</div>'
    spoilt += "<script>nonsense()</script></body>"
    (tmp_path / "report.html").write_text(page.replace("</body>", spoilt))
    with visit(tmp_path / "report.html", 390) as visited:
        faults = "\n".join(visited.faults(390))
    for fault in ("Content Security Policy", "nonsense", "1 broken pictures", "pixels wide"):
        assert fault in faults
