"""The hooks of the site of docs/: addresses, notebooks as pages, names that may break."""

import importlib.util
from types import ModuleType

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def site() -> ModuleType:
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://forge.example/people/project.git", "https://forge.example/people/project"),
        ("https://user:token@forge.example/people/project", "https://forge.example/people/project"),
        ("git@forge.example:people/project.git", "https://forge.example/people/project"),
        ("/srv/git/project.git", None),
        ("", None),
    ],
)
def test_the_repositorys_page_has_no_token(site: ModuleType, remote: str, page: str | None) -> None:
    assert site.web_address(remote) == page


def test_a_notebook_becomes_a_page_with_what_its_cells_printed_and_drew(site: ModuleType) -> None:
    printed = {"output_type": "stream", "text": ["\x1b[1mone\x1b[0m\n", "two\n"]}
    drawn = {"output_type": "display_data", "data": {"image/png": "aGk=", "text/plain": "<image>"}}
    cells = [
        {"cell_type": "markdown", "source": ["# A title"]},
        {"cell_type": "code", "source": ["a = 1"], "outputs": [printed, drawn]},
    ]
    page = site.as_markdown(cells, name="tour.ipynb")
    assert page.startswith("# A title\n")
    assert 'href="../tour.ipynb"' in page
    assert "```python\na = 1\n```" in page
    assert "```text\none\ntwo\n```" in page
    assert "data:image/png;base64,aGk=" in page
    assert "<image>" not in page


def test_links_to_a_notebook_lead_to_its_page(site: ModuleType) -> None:
    assert site.on_page_markdown("[a](tour.ipynb), [b](lab/lab.ipynb)") == (
        "[a](tour.md), [b](lab/lab.md)"
    )


def test_long_names_may_break_and_blocks_of_code_may_not(site: ModuleType) -> None:
    assert site.on_page_content("<code>max_epochs=20</code>") == (
        "<code>max_<wbr>epochs=<wbr>20</code>"
    )
    for inside in ("<span>max_epochs=20</span>", "846,657 parameters\n4,000 images"):
        block = f"<pre><span></span><code>{inside}</code></pre>"
        assert site.on_page_content(block) == block
