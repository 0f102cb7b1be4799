"""docs/tour.ipynb runs from top to bottom, with shorter trainings than in the committed one."""

from pathlib import Path

import pytest
from conftest import ROOT
from notebooks import execute, kinds

TOUR = ROOT / "docs" / "tour.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    text = TOUR.read_text()
    assert text.count("max_epochs=10") >= 2
    copy = tmp_path / "tour.ipynb"
    copy.write_text(text.replace("max_epochs=10", "max_epochs=1"))
    execute(copy)
    assert kinds(copy) == kinds(TOUR)
    assert kinds(copy).count(["image"]) == 3


def test_the_committed_notebook_names_no_machine() -> None:
    text = TOUR.read_text()
    assert "/tmp" not in text
    assert str(Path.home()) not in text
